"""The two RADIUS servers that are measured side by side, each a process of its own.

Both look a name up by one query of an SQLite file of their own and compare with what stands there.
"""

import os
import secrets
import sqlite3
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.wifi_certificates import Certificates
from edgegate.credentials.passwords import of_generated
from rig.freeradius import FreeRadius

SECRET = secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody with a generated password."""

    name: str
    password: str


def members(count: int) -> list[Member]:
    """So many of them, with passwords of 128 bits."""
    return [Member(f"member-{n:06}", secrets.token_hex(16)) for n in range(count)]


class Server(ABC):
    """A server that is measured from outside."""

    name: str

    @property
    @abstractmethod
    def pid(self) -> int:
        """Its process."""

    @property
    @abstractmethod
    def port(self) -> int:
        """Where it answers Access-Requests."""

    @abstractmethod
    def start(self) -> None:
        """Start it, and wait until it answers."""

    @abstractmethod
    def stop(self) -> None:
        """End it; idempotent."""

    def cpu_s(self) -> float:
        """The processor time that all its threads have used."""
        return cpu_s(self.pid)


def cpu_s(pid: int) -> float:
    """The processor time that a process has used (utime and stime of proc_pid_stat(5))."""
    status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    fields = status.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


MODULES = """
sql {
    dialect = "sqlite"
    driver = "rlm_sql_sqlite"
    sqlite {
        filename = "{directory}/radius.db"
        busy_timeout = 200
    }
    radius_db = "radius"
    acct_table1 = "radacct"
    acct_table2 = "radacct"
    postauth_table = "radpostauth"
    authcheck_table = "radcheck"
    authreply_table = "radreply"
    groupcheck_table = "radgroupcheck"
    groupreply_table = "radgroupreply"
    usergroup_table = "radusergroup"
    read_groups = no
    read_profiles = no
    read_clients = no
    delete_stale_sessions = no
    pool {
        start = 5
        min = 3
        max = 32
        spare = 10
        uses = 0
        retry_delay = 30
        lifetime = 0
        idle_timeout = 60
    }
    client_table = "nas"
    group_attribute = "SQL-Group"
    sql_user_name = "%{User-Name}"
    authorize_check_query = "SELECT id, username, attribute, value, op FROM radcheck \
        WHERE username = '%{SQL-User-Name}'"
}
pap {
    normalise = yes
}
always reject {
    rcode = reject
}
eap {
    default_eap_type = {eap_type}
    timer_expire = 60
    ignore_unknown_eap_types = no
    max_sessions = 16384
    tls-config tls-common {
        private_key_file = {key}
        certificate_file = {chain}
        ca_file = {authority}
        auto_chain = no
        cipher_list = "DEFAULT"
        tls_min_version = "1.2"
        tls_max_version = "1.3"
        ecdh_curve = ""
        fragment_size = 1024
        include_length = no
        cache {
            enable = no
        }
    }
    tls {
        tls = tls-common
    }
    ttls {
        tls = tls-common
        default_eap_type = md5
        copy_request_to_tunnel = no
        use_tunneled_reply = no
        virtual_server = "inner-tunnel"
    }
}
"""

SITES = """
server default {
    listen {
        type = auth
        ipaddr = 127.0.0.1
        port = {auth_port}
    }
    authorize {
        if (&EAP-Message) {
            eap
        }
        else {
            sql
            pap
        }
    }
    authenticate {
        Auth-Type PAP {
            pap
        }
        eap
    }
    post-auth {
        if (&EAP-Type == TLS) {
            if ("%{sql:SELECT id FROM radcheck WHERE username = '%{User-Name}'}" == "") {
                reject
            }
        }
    }
}
server inner-tunnel {
    authorize {
        sql
        pap
    }
    authenticate {
        Auth-Type PAP {
            pap
        }
    }
}
"""


class FreeRadiusServer(Server):
    """Debian's FreeRADIUS with rlm_sql_sqlite."""

    def __init__(self, directory: Path, people: list[Member], certificates: Certificates) -> None:
        self.name = "FreeRADIUS"
        directory.mkdir()
        _write_radcheck(directory / "radius.db", people)
        self._server = FreeRadius(
            directory,
            secret=SECRET,
            modules=MODULES,
            sites=SITES,
            values={
                "eap_type": "ttls",
                "key": certificates.server_key,
                "chain": certificates.server_chain,
                "authority": certificates.authority,
            },
        )

    @property
    def pid(self) -> int:
        return self._server.pid

    @property
    def port(self) -> int:
        return self._server.auth_port

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop()


class EdgegateServer(Server):
    """edgegate's endpoint and EAP, with a lookup in place of the line (see `radius_server.py`)."""

    def __init__(self, directory: Path, people: list[Member], certificates: Certificates) -> None:
        self.name = "edgegate"
        directory.mkdir()
        self._database = directory / "logins.db"
        self._certificates = certificates
        self._log = directory / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._port = self._pid = 0
        _write_logins(self._database, people)

    @property
    def pid(self) -> int:
        return self._pid

    @property
    def port(self) -> int:
        return self._port

    def start(self) -> None:
        files = self._certificates
        paths = (self._database, files.server_chain, files.server_key, files.authority)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bench.radius_server", SECRET, *map(str, paths)],
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self._pid = self._process.pid
        said = self._process.stdout.readline() if self._process.stdout is not None else b""
        if not said:
            self.stop()
            raise RuntimeError(f"edgegate's port did not open:\n{self._log.read_text()[-4000:]}")
        self._port = int(said)

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.communicate()


def _write_radcheck(file: Path, people: list[Member]) -> None:
    with _database(file) as connection:
        connection.execute(
            "CREATE TABLE radcheck (id INTEGER PRIMARY KEY, username TEXT NOT NULL,"
            " attribute TEXT NOT NULL, op TEXT NOT NULL, value TEXT NOT NULL)"
        )
        connection.execute("CREATE INDEX check_username ON radcheck (username)")
        rows = [(m.name, "Cleartext-Password", ":=", m.password) for m in people]
        connection.executemany(
            "INSERT INTO radcheck (username, attribute, op, value) VALUES (?, ?, ?, ?)", rows
        )


def _write_logins(file: Path, people: list[Member]) -> None:
    with _database(file) as connection:
        connection.execute(
            "CREATE TABLE login (id INTEGER PRIMARY KEY, name TEXT NOT NULL,"
            " verifier TEXT NOT NULL)"
        )
        connection.execute("CREATE INDEX login_name ON login (name)")
        rows = [(m.name, of_generated(m.password.encode())) for m in people]
        connection.executemany("INSERT INTO login (name, verifier) VALUES (?, ?)", rows)


@contextmanager
def _database(file: Path) -> Iterator[sqlite3.Connection]:
    """A new file; with a write-ahead log, as the appliance's, which is also quicker to read."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        with connection:
            yield connection
