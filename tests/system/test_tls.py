"""Servers that want TLS and passwords: what a URL says about certificates and who logs in is the same with every driver."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import URL, make_url
from sqlalchemy.exc import OperationalError

from fine_tuning_store.sql.engine import connect
from tests.embedding.test_urls import DRIVERS, PASSWORDS, ask
from tests.support import standby
from tests.support.databases import missing, with_driver
from tests.support.own_mariadb import own_mariadb

USER = "tenant"


def certificate(folder: Path, name: str, address: str) -> tuple[Path, Path]:
    """Make a certificate for an address that is its own CA, and return its file and that of its key."""
    program = shutil.which("openssl")
    if program is None:
        missing("no openssl")
    made, key = folder / f"{name}.crt", folder / f"{name}.key"
    request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    subprocess.run(
        [program, *request, "-addext", f"subjectAltName=IP:{address}", "-keyout", key, "-out", made], check=True, capture_output=True
    )
    return made, key


@contextmanager
def mariadb(made: Path, key: Path) -> Iterator[URL]:
    """Start a MariaDB that accepts connections by TLS only."""
    settings = {"ssl-ca": str(made), "ssl-cert": str(made), "ssl-key": str(key), "require-secure-transport": "ON"}
    with own_mariadb(settings, {"ssl_verify_cert": "false"}) as server:
        yield server.url


@contextmanager
def postgresql(made: Path, key: Path) -> Iterator[URL]:
    """Start a PostgreSQL on which only its superuser may log in without TLS and a password."""
    with standby.primary_and_standby() as (url, _):
        data = Path(standby.scalar(url, "SHOW data_directory"))
        owner = data.stat()
        for source, name in ((made, "server.crt"), (key, "server.key")):
            shutil.copy(source, data / name)
            os.chown(data / name, owner.st_uid, owner.st_gid)
            (data / name).chmod(0o600)
        (data / "pg_hba.conf").write_text(
            "host all postgres 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n"
        )
        standby.scalar(url, "ALTER SYSTEM SET ssl = on")
        standby.scalar(url, "SELECT pg_reload_conf()")
        deadline = time.monotonic() + 30
        while standby.scalar(url, "SHOW ssl") != "on":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield url


@contextmanager
def folder_of_all() -> Iterator[Path]:
    """A folder that the users of the servers can read, too."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        folder.chmod(0o755)
        yield folder


CIPHERS = {
    "postgresql": "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
    "mariadb": "SELECT VARIABLE_VALUE <> '' FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'Ssl_cipher'",
}
NEEDS_NO_NAME = {"postgresql": {"sslmode": "verify-ca"}, "mariadb": {"ssl_verify_identity": "false"}}
UNVERIFIED = {"postgresql": {"sslmode": "require"}, "mariadb": {"ssl_verify_cert": "false"}}
PLAIN = {"postgresql": {"sslmode": "disable"}, "mariadb": {"ssl_disabled": "true"}}


CREATE = {
    "postgresql": f"DROP ROLE IF EXISTS {USER}; CREATE ROLE {USER} LOGIN PASSWORD '{{password}}'",
    "mariadb": f"CREATE OR REPLACE USER {USER} IDENTIFIED BY '{{password}}'",
}
ESCAPED = {"postgresql": "\\", "mariadb": "\\\\"}  # a backslash in a text


def assert_tls(name: str, url: URL, ca: Path, other_ca: Path, address_matches: bool) -> None:
    root = "sslrootcert" if name == "postgresql" else "ssl_ca"
    verified = {root: str(ca), **({"sslmode": "verify-full"} if name == "postgresql" else {})}
    for driver in DRIVERS[name]:
        login = make_url(with_driver(url.render_as_string(hide_password=False), driver)).set(query={})

        def encrypted(parameters: dict[str, str], login: URL = login) -> bool:
            return bool(ask(login.update_query_dict(parameters), CIPHERS[name])[0])

        assert encrypted(UNVERIFIED[name]), driver
        assert encrypted({**verified, **NEEDS_NO_NAME[name]}), driver
        refused = [{**verified, root: str(other_ca)}, PLAIN[name]]
        if address_matches:
            assert encrypted(verified), driver
        else:
            refused.append(verified)
        for parameters in refused:
            with pytest.raises(OperationalError):
                encrypted(parameters)
        if name == "postgresql":
            for of_system, verifies in ((ca, address_matches), (other_ca, False)):
                with pytest.MonkeyPatch.context() as environment:
                    environment.setenv("SSL_CERT_FILE", str(of_system))
                    if verifies:
                        assert encrypted({"sslrootcert": "system"}), driver
                    else:
                        with pytest.raises(OperationalError, match=r"(?i)certificate"):
                            encrypted({"sslrootcert": "system"})


@pytest.mark.parametrize("address", ["127.0.0.1", "192.0.2.1"])
@pytest.mark.parametrize("name", ["postgresql", "mariadb"])
def test_certificates_are_verified_alike_and_passwords_of_any_characters_log_in(name: str, address: str) -> None:
    with folder_of_all() as folder:
        made, key = certificate(folder, "server", address)
        other, _ = certificate(folder, "other", address)
        key.chmod(0o644)
        server = (postgresql if name == "postgresql" else mariadb)(made, key)
        with server as admin:
            engine = connect(admin.set(query={} if name == "postgresql" else UNVERIFIED[name]))
            for password in PASSWORDS:
                with engine.begin() as connection:
                    connection.exec_driver_sql(
                        CREATE[name].format(password=password.replace("'", "''").replace("\\", ESCAPED[name]).replace("%", "%%"))
                    )
                login = admin.set(username=USER, password=password, query={})
                if password == PASSWORDS[0]:
                    assert_tls(name, login, made, other, address == "127.0.0.1")
                for driver in DRIVERS[name]:
                    url = make_url(with_driver(login.render_as_string(hide_password=False), driver)).set(query=UNVERIFIED[name])
                    assert ask(url, "SELECT 1") == [1], driver
                    with pytest.raises(OperationalError) as caught:
                        ask(url.set(password=f"{password}!"), "SELECT 1")
                    assert password not in str(caught.value)
            engine.dispose()
