"""STUN and TURN servers, and credentials that a TURN server can check without asking (coturn's REST scheme)."""

from hub.ice import ice_servers, turn_credential

SERVERS = ["stun:a.example:3478", "turn:b.example:3478?transport=udp", "stuns:c.example", "turns:d.example:5349"]
# printf %s 1433895918:user-1 | openssl dgst -sha1 -hmac 'north pole' -binary | base64
USERNAME, CREDENTIAL = "1433895918:user-1", "3/vRsrLGu7xqONKwZW3aGTDwJbg="


def test_credential() -> None:
    """base64(HMAC-SHA1(secret, username)), as openssl computes it."""
    assert turn_credential("north pole", USERNAME) == CREDENTIAL


def test_servers() -> None:
    """STUN servers go without credentials, TURN servers with."""
    assert ice_servers(SERVERS, secret="north pole", user="user-1", expires=1433895918) == [
        {"urls": ["stun:a.example:3478", "stuns:c.example"]},
        {
            "urls": ["turn:b.example:3478?transport=udp", "turns:d.example:5349"],
            "username": USERNAME,
            "credential": CREDENTIAL,
        },
    ]


def test_turn_without_a_secret() -> None:
    """A browser throws at a TURN server without credentials, so none is named."""
    assert ice_servers(SERVERS, secret=None, user="u", expires=1) == [{"urls": [SERVERS[0], SERVERS[2]]}]
    assert ice_servers([], secret="s", user="u", expires=1) == []
