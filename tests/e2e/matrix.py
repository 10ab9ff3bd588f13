"""Who may what, as tables (contract.md sections 2, 5 and 6); `tests.e2e.cast` says who they are."""

from typing import Final

__all__ = ["BESIDE", "BROWSER_EVENTS", "DOORS", "ENDS_IT", "ERRORS", "FILTERS", "HTTP", "TOPICS"]


def _table(text: str) -> dict[str, dict[str, str]]:
    """A table of expectations: columns are two spaces apart, the first line names them, the first column the rows."""
    lines = [line.split("  ") for line in text.strip().splitlines()]
    head, *rows = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert all(len(row) == len(head) for row in rows), [row for row in rows if len(row) != len(head)]
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}


# `ok`: the status for whoever may (+); others get the status in their column. `bad`: everybody of `cast.BAD`
HTTP: Final = _table("""
route                                             ok   bad  guest  viewer  operator  admin  service  own  other
GET /                                             200  +    +      +       +         +      +        +    +
GET /docs                                         200  +    +      +       +         +      +        +    +
GET /docs/start.js                                200  +    +      +       +         +      +        +    +
GET /openapi.json                                 200  +    +      +       +         +      +        +    +
GET /health                                       200  +    +      +       +         +      +        +    +
GET /ready                                        200  +    +      +       +         +      +        +    +
GET /metrics                                      200  401  403    403     403       +      403      403  403
POST /auth/guest                                  201  +    +      +       +         +      +        +    +
POST /auth/register                               201  +    +      +       +         +      +        +    +
POST /auth/login                                  201  +    +      +       +         +      +        +    +
POST /auth/station                                201  +    +      +       +         +      +        +    +
GET /auth/profile                                 200  401  +      +       +         +      +        +    +
GET /auth/diagnostics                             200  401  +      +       +         +      +        +    +
POST /auth/refresh                                201  401  +      +       +         +      403      403  403
POST /auth/password                               201  401  403    +       +         +      403      403  403
POST /auth/logout                                 201  401  +      +       +         +      403      403  403
GET /config/ice                                   200  401  +      +       +         +      +        +    +
GET /rooms                                        200  401  403    403     403       +      403      403  403
POST /rooms                                       201  401  +      +       +         +      403      403  403
GET /rooms/{room_id}/exists                       200  401  +      +       +         +      403      403  403
GET /stations                                     200  401  +      +       +         +      403      403  403
POST /stations                                    201  401  403    403     403       +      403      403  403
GET /stations/online                              200  401  +      +       +         +      403      403  403
GET /stations/{station_id}                        200  401  +      +       +         +      403      403  403
GET /stations/{station_id}/history                200  401  +      +       +         +      403      403  403
PATCH /stations/{station_id}                      200  401  403    403     403       +      403      403  403
DELETE /stations/{station_id}                     404  401  403    403     403       +      403      403  403
POST /stations/{station_id}/key                   404  401  403    403     403       +      403      403  403
GET /stations/{station_id}/commands               200  401  403    403     +         +      403      403  403
POST /stations/{station_id}/commands              409  401  403    403     +         +      403      403  403
GET /stations/{station_id}/commands/{command_id}  404  401  403    403     +         +      403      403  403
GET /users                                        200  401  403    403     403       +      403      403  403
POST /users                                       201  401  403    403     403       +      403      403  403
GET /users/{user_id}                              404  401  403    403     403       +      403      403  403
PATCH /users/{user_id}                            404  401  403    403     403       +      403      403  403
DELETE /users/{user_id}                           404  401  403    403     403       +      403      403  403
GET /audit                                        200  401  403    403     403       +      403      403  403
""")
BESIDE: Final = {"GET /", "GET /docs", "GET /docs/start.js", "GET /openapi.json"}
"""What the document does not describe."""
ENDS_IT: Final = {"DELETE /stations/{station_id}", "POST /stations/{station_id}/key"}
"""What the station that others ask about would not survive: asked about one that there is not."""

DOORS: Final = _table("""
door       bad      guest   viewer  operator  admin  service  own     other
/ws        refused  +       +       +         +      +        +       +
/ws/admin  refused  admins  admins  admins    +      admins   admins  admins
/          refused  +       +       +         +      +        +       +
/admin     refused  admins  admins  admins    +      admins   admins  admins
""")

# those of `BAD` get through no door
BROWSER_EVENTS: Final = _table("""
event                        guest       viewer      operator    admin       service  own   other
ping                         +           +           +           +           role     +     +
create-room                  +           +           +           +           role     role  role
check-room                   +           +           +           +           role     +     +
join-room                    +           +           +           +           role     +     uninvited
offer                        +           +           +           +           role     +     stranger
answer                       +           +           +           +           role     +     stranger
ice-candidate                +           +           +           +           role     +     +
station-register             station     station     station     taken       role     +     station
get-online-stations          +           +           +           +           role     role  role
station-invite               role        role        +           +           role     role  role
station-call-center          station     station     station     station     role     +     station
station-cmd-request-stream   role        role        +           +           role     role  role
station-cmd-stream-response  no station  no station  no station  no station  role     +     +
station-request-status       +           +           +           +           role     role  role
station-status-update        no station  no station  no station  no station  role     +     +
station-command              role        role        late        late        role     role  role
station-command-reply        no station  no station  no station  no station  role     +     +
station-watch                +           +           +           +           role     role  role
station-unwatch              +           +           +           +           role     role  role
leave-room                   +           +           +           +           role     +     +
""")
ERRORS: Final = {
    "refused": "UNAUTHORIZED: Unauthorized",
    "replaced": "UNAUTHORIZED: session mismatch detected",
    "admins": "FORBIDDEN: Admins only",
    "role": "FORBIDDEN: Your role does not allow this",
    "station": "FORBIDDEN: You may not speak for this station",
    "stranger": "FORBIDDEN: You share no room and no stream request with this peer",
    "uninvited": "FORBIDDEN: The station was not invited to this room",
    "no station": "STATION_NOT_REGISTERED: This connection is not registered as a station",
    "taken": "STATION_ALREADY_REGISTERED: Another identity holds this station",
    # it was sent, and this station does not answer
    "late": "STATION_TIMEOUT: The station did not finish in time, delivered=false",
    "unknown": "NOT_FOUND: Unknown event",
}

# p: may publish there, s: may subscribe to it
TOPICS: Final = _table("""
topic                      admin  service  own  other
stations/{sid}/status      s      s        p    -
stations/{sid}/online      s      s        p    -
stations/{sid}/offline     s      s        p    -
stations/{sid}/call        s      s        p    -
stations/{sid}/cmd         ps     ps       s    -
stations/{sid}/reply       s      s        p    -
stations/{sid}/stream      s      s        p    -
stations/{sid}/room        s      s        p    -
stations/{sid}/signal/in   s      s        s    -
stations/{sid}/signal/out  s      s        p    -
live/stations/{sid}        s      s        s    -
live/rooms/{rid}           s      s        -    -
live/rooms/{rid}/{pid}     s      s        -    -
live/sockets/{sid}/{pid}   s      s        -    -
live/users/{uid}           s      s        -    -
live/revoked/{sid}         s      s        -    -
live/nodes/{nid}           s      s        -    -
peers/{nid}/{pid}          -      -        -    -
""")
FILTERS: Final = _table("""
filter             admin  service  own  other
stations/#         s      s        -    -
live/#             s      s        -    -
$SYS/#             s      s        -    -
stations/+/cmd     s      s        -    -
stations/st-own/#  s      s        -    -
stations/st-own/+  s      s        -    -
live/stations/+    s      s        -    -
#                  -      -        -    -
+/st-own/cmd       -      -        -    -
peers/#            -      -        -    -
""")
