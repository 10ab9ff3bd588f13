"""`/auth`: signing in, as a guest, by password or device key, and what the signed-in do about it (contract.md section 5)."""

import json
import secrets
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field

from bridge.gateway import Gateway
from bridge.handshake import bearer
from bridge.http.accounts import AccountsOf, AddressOf, Email, Nickname, Password, noted, refusals, unauthorized
from bridge.http.errors import responses
from bridge.http.identity import GatewayOf, SignedIn, Viewer
from bridge.http.stations import StationsOf
from devices.topics import STATION_ID
from hub.account_rules import Account, NoSuchAccount, WrongLogin
from hub.accounts import Accounts, Session
from hub.auth import DAY, Identity, Role, station_key
from hub.sessions import GUEST

__all__ = ["router"]

router = APIRouter(prefix="/auth", tags=["auth"])


class Body(BaseModel):
    """What is sent; types are not guessed, fields that nobody knows are passed over."""

    model_config = ConfigDict(strict=True)


class GuestRequest(Body):
    """Who the guest says to be."""

    nickname: Nickname | None = None


class RegisterRequest(Body):
    """A new account."""

    email: Email
    password: Password
    nickname: Nickname


class LoginRequest(Body):
    """Whatever somebody types; what could not be a password is simply wrong."""

    email: str
    password: str


class PasswordRequest(Body):
    """The password until now, and from now on."""

    oldPassword: str
    newPassword: Password


class StationRequest(Body):
    """A station and its device key."""

    stationId: Annotated[str, Field(pattern=f"^{STATION_ID.pattern}$")]
    key: Annotated[str, Field(pattern=r"^[!-~]{1,128}$")]


class Guest(BaseModel):
    """Somebody without an account."""

    id: str
    type: Literal["guest"] = "guest"
    nickname: str


class Registered(BaseModel):
    """Somebody with an account."""

    id: str
    email: str
    nickname: str
    type: Literal["registered"] = "registered"


class Token(BaseModel):
    """For `Authorization: Bearer`, and both WebSocket doors."""

    accessToken: str


class GuestToken(Token):
    """A guest is signed in."""

    user: Guest


class UserToken(Token):
    """The owner of an account is signed in."""

    user: Registered


class Diagnosis(BaseModel):
    """The token is good."""

    ok: Literal[True] = True
    payload: dict[str, Any]


class Done(BaseModel):
    """It was done."""

    ok: Literal[True] = True


def _claimed(gateway: Gateway, role: Role) -> Role | None:
    """The role that a token names: what viewers may do is the hub's to say where registration is open."""
    return None if gateway.open_registration and role == "viewer" else role


async def _sign_in(gateway: Gateway, accounts: Accounts, account: Account) -> UserToken:
    """Begins the one session of an account. Raises WrongLogin, StoreDown."""
    while True:
        token = await gateway.authenticator.sign_in(
            account.user_id, role=_claimed(gateway, account.role), nickname=account.nickname, lifetime=DAY
        )
        try:
            role, account = account.role, await accounts.still(account)
        except WrongLogin:
            await gateway.authenticator.end_sessions(account.user_id)
            raise
        if account.role == role:  # else an admin changed it just then
            break
    user = Registered(id=account.user_id, email=account.email, nickname=account.nickname)
    return UserToken(accessToken=token, user=user)


@router.post("/guest", status_code=201, responses=responses(400, 403, 429, 503))
async def guest(
    gateway: GatewayOf, accounts: AccountsOf, address: AddressOf, body: GuestRequest | None = None
) -> GuestToken:
    """Signs in somebody without an account."""
    with refusals():
        accounts.guest(address)
    user_id = f"{GUEST}{secrets.token_hex(8)}"
    nickname = (body.nickname if body else None) or f"Guest {user_id[-4:]}"
    token = await gateway.authenticator.sign_in(
        user_id, role=_claimed(gateway, "viewer"), type="guest", nickname=nickname, lifetime=DAY
    )
    return GuestToken(accessToken=token, user=Guest(id=user_id, nickname=nickname))


@router.post("/register", status_code=201, responses=responses(400, 401, 403, 429, 503))
async def register(
    request: Request, gateway: GatewayOf, accounts: AccountsOf, address: AddressOf, body: RegisterRequest
) -> UserToken:
    """Makes an account with the rights of a viewer, and signs in."""
    note = noted(request, None, address, "user.register", {})
    with refusals(taken=401):
        account = await accounts.register(body.email, body.password, body.nickname, address, also=note)
        return await _sign_in(gateway, accounts, account)


@router.post("/login", status_code=201, responses=responses(400, 401, 429, 503))
async def login(gateway: GatewayOf, accounts: AccountsOf, address: AddressOf, body: LoginRequest) -> UserToken:
    """Signs in the owner of an account; whoever was signed in as them is signed out."""
    with refusals():
        account = await accounts.login(body.email, body.password, address)
        return await _sign_in(gateway, accounts, account)


@router.post("/station", status_code=201, responses=responses(400, 401, 429, 503))
async def sign_in_station(
    gateway: GatewayOf, accounts: AccountsOf, stations: StationsOf, address: AddressOf, body: StationRequest
) -> Token:
    """A token for a station that shows its device key."""
    with refusals(), accounts.attempt(address, station_key(body.stationId)):  # no email begins so
        # the database is asked: another node may have given it a new key
        generation = await stations.opened_by(body.stationId, body.key)
        if generation is None:
            raise unauthorized()
        return Token(accessToken=gateway.tokens.mint_station(body.stationId, lifetime=DAY, generation=generation))


@router.get("/profile", responses=responses(401, 503))
async def profile(identity: SignedIn) -> dict[str, Any]:
    """The claims of the token, as they came."""
    return _as_json(identity.claims)


def _as_json(claims: Mapping[str, Any]) -> dict[str, Any]:
    """Claims that can be told: others may have signed NaN, which is no JSON, or half a surrogate pair, which is no UTF-8."""
    text = json.dumps(dict(claims), ensure_ascii=False).encode(errors="replace")
    told: dict[str, Any] = json.loads(text, parse_constant=lambda _: None)
    return told


async def _has_token(request: Request) -> None:
    if not bearer(request.headers):
        raise unauthorized("Missing Bearer token")


@router.get("/diagnostics", dependencies=[Depends(_has_token)], responses=responses(401, 503))
async def diagnostics(identity: SignedIn) -> Diagnosis:
    """Whether the token is good, and what it says."""
    return Diagnosis(payload=_as_json(identity.claims))


@router.post("/refresh", status_code=201, responses=responses(401, 403, 503))
async def refresh(gateway: GatewayOf, accounts: AccountsOf, identity: SignedIn) -> Token:
    """The same session for another day, with the name and role that the account has now."""
    if not identity.issuer_is_us:
        raise HTTPException(403, "This hub did not issue the token")
    role, nickname = _claimed(gateway, "viewer"), identity.nickname
    if identity.type == "registered":
        account = await _account_of(accounts, identity)
        if account.disabled:
            raise unauthorized()
        role, nickname = _claimed(gateway, account.role), account.nickname
    elif identity.type != "guest" or not identity.user_id.startswith(GUEST):
        raise HTTPException(403, "Only guests and people with an account")
    token = gateway.tokens.mint_user(
        identity.user_id,
        role=role,
        type="guest" if identity.type == "guest" else "registered",
        nickname=nickname,
        lifetime=DAY,
        session_id=identity.session_id,
        # a later one would make it a newer login than the end of its own session
        issued_at=identity.issued_at,
    )
    return Token(accessToken=token)


@router.post("/password", status_code=201, responses=responses(400, 401, 403, 429, 503))
async def change_password(
    gateway: GatewayOf,
    accounts: AccountsOf,
    address: AddressOf,
    request: Request,
    identity: SignedIn,
    body: PasswordRequest,
) -> UserToken:
    """Another password; every other session of the account ends, and this one goes on with the token of the answer."""
    await _account_of(accounts, identity)

    async def note(session: Session, account: Account) -> None:
        await request.app.state.audit.record(identity, address, "user.password", account.user_id, {}, session=session)

    with refusals():
        try:
            account = await accounts.change_password(
                identity.user_id, body.oldPassword, body.newPassword, address, also=note
            )
        except WrongLogin:
            raise HTTPException(403, "The old password is wrong") from None
        return await _sign_in(gateway, accounts, account)


@router.post("/logout", status_code=201, responses=responses(401, 403, 503))
async def logout(gateway: GatewayOf, identity: Viewer) -> Done:
    """Ends the session, on every door."""
    await gateway.authenticator.end_sessions(identity.user_id)
    return Done()


async def _account_of(accounts: Accounts, identity: Identity) -> Account:
    """The account of who is signed in with a token of this hub. Raises HTTPException 403, StoreDown."""
    try:
        if identity.issuer_is_us and identity.type == "registered":
            return await accounts.by_id(identity.user_id)
    except NoSuchAccount:
        pass
    raise HTTPException(403, "Only people with an account")
