"""Parts of a hub, made of its options."""

import ssl

from devices import topics
from devices.clock import Clock
from hub.accounts import Accounts
from hub.auth import Tokens
from hub.authentication import Authenticator
from hub.config import ConfigError, Settings, data_directory
from hub.embedded import EmbeddedLink, Tls
from hub.jwks import Jwks
from hub.keys import KeyRefused, Keys, read_pem
from hub.passwords import Passwords
from hub.remote import RemoteLink
from hub.store.database import Database
from hub.throttle import Throttle

__all__ = ["make_accounts", "make_link", "make_tokens"]


def make_tokens(settings: Settings, secret: str) -> tuple[Tokens, Jwks | None]:
    """What checks and mints tokens, and what fetches the keys of those issued elsewhere. Raises ConfigError."""
    url, path = settings.jwks_url, settings.jwt_public_key
    try:
        keys = Keys(read_pem(path.read_bytes()) if path is not None else None, published=url is not None)
    except (OSError, KeyRefused) as error:
        raise ConfigError(f"--jwt-public-key: {path}: {error}") from None
    tokens = Tokens(
        secret,
        keys=keys,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        open_registration=settings.open_registration,
    )
    return tokens, Jwks(url, keys) if url is not None else None


def make_accounts(settings: Settings, database: Database, passwords: Passwords, clock: Clock) -> Accounts:
    """The accounts."""
    return Accounts(
        database,
        passwords,
        Throttle(settings.login_burst, settings.login_rate),
        clock,
        guests=settings.guests,
        registration=settings.registration,
    )


def make_link(settings: Settings, authenticator: Authenticator, nid: str) -> EmbeddedLink | RemoteLink:
    """The way to the broker, not started yet. Raises ConfigError."""
    if settings.broker is not None:
        return RemoteLink(settings.broker, will=(topics.LIVE_NODE(nid), b"", True))
    return EmbeddedLink(
        authenticator=authenticator,
        host=settings.host,
        mqtt_port=settings.mqtt_port,
        mqtt_ws_port=settings.mqtt_ws_port,
        tls=_mqtts(settings),
        anonymous=settings.anonymous_mqtt,
        limits=settings.limits,
        storage=data_directory(settings) if settings.durability == "disk" else None,
        synchronous=settings.synchronous,
    )


def _mqtts(settings: Settings) -> Tls | None:
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None or key is None or not (settings.https or settings.mqtts_port is not None):
        return None
    try:
        ssl.create_default_context(cafile=settings.tls_client_ca).load_cert_chain(certificate, key)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(
            f"--tls-certificate, --tls-key, --tls-client-ca: cannot be used: {error.strerror or error}"
        ) from None
    if settings.mqtts_port is None:
        return None
    return Tls(settings.mqtts_port, certificate, key, settings.tls_client_ca)
