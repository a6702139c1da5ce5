"""An nginx of the tests' own before another server: TLS, certificates of clients, passwords, tokens.

Free loopback port, temporary folder, ended by its process id.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.certificates import Authority
from support.orthanc import free_port

__all__ = ["Nginx", "start_nginx"]

STARTS_WITHIN = 20.0
ENDS_WITHIN = 10.0
WRITES_WITHIN = 5.0

CONFIGURATION = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ worker_connections 256; }}
http {{
  access_log {folder}/access.log;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  scgi_temp_path {folder}/scgi;
  uwsgi_temp_path {folder}/uwsgi;
  client_max_body_size 0;
  server {{
    listen 127.0.0.1:{port}{ssl};
{rules}
    location / {{
{access}
      proxy_pass {upstream};
      proxy_http_version 1.1;
      proxy_buffering off;
      proxy_request_buffering off;
      proxy_read_timeout 120s;
      proxy_set_header Host $http_host;
      proxy_set_header Authorization "";
    }}
  }}
}}
"""


@dataclass
class Nginx:
    """A running nginx."""

    port: int
    folder: Path
    scheme: str
    process: subprocess.Popen[bytes]

    @property
    def root(self) -> str:
        """Its address; TLS certificates name it too."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Root of DICOMweb where an Orthanc is behind it."""
        return f"{self.root}/dicom-web"

    def statuses(self, count: int) -> list[int]:
        """HTTP status of each request that it answered; it writes them down a little later, so say how many."""
        end = time.monotonic() + WRITES_WITHIN
        while len(self.log("access").splitlines()) < count and time.monotonic() < end:
            time.sleep(0.01)
        return [int(line.split('"')[2].split()[0]) for line in self.log("access").splitlines()]

    def log(self, which: str) -> str:
        """What it wrote into ``access`` or ``error``."""
        path = self.folder / f"{which}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self) -> None:
        """End the process and its workers; kill it where it does not end."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def start_nginx(
    folder: Path,
    upstream: str,
    authority: Authority | None = None,
    clients: Authority | None = None,
    users: Mapping[str, str] | None = None,
    tokens: Sequence[str] = (),
    check: str = "",
    names: tuple[str, ...] = ("127.0.0.1", "localhost"),
) -> Iterator[Nginx]:
    """Start an nginx before another server, and end it.

    Parameters
    ----------
    folder
        Where its files are.
    upstream
        Address of the server behind it, without a path.
    authority
        Who signs its certificate; None for plain http.
    clients
        Who must have signed a client's certificate.
    users
        Name -> password, where one is wanted.
    tokens
        Bearer tokens of which one is wanted.
    check
        Address that is asked with the ``Authorization`` of each request whether it may pass.
    names
        Hosts that its certificate is for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    configuration = folder / "nginx.conf"
    configuration.write_text(
        CONFIGURATION.format(
            # Started by root, its workers would be nobody, who may not read the folders of tests.
            user="user root;" if hasattr(os, "geteuid") and os.geteuid() == 0 else "",
            folder=folder,
            port=port,
            ssl=" ssl" if authority else "",
            rules=_rules(folder, authority, clients, check, names),
            access=_access(folder, users or {}, tokens, check),
            upstream=upstream,
        )
    )
    command = [_program(), "-p", str(folder), "-c", str(configuration), "-e", str(folder / "error.log")]
    with (folder / "output.log").open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    server = Nginx(port, folder, "https" if authority else "http", process)
    try:
        _wait(server)
        yield server
    finally:
        server.stop()


def _program() -> str:
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.fail("nginx is not installed (Debian: nginx-light)")
    return program


def _rules(
    folder: Path, authority: Authority | None, clients: Authority | None, check: str, names: tuple[str, ...]
) -> str:
    lines = []
    if check:
        inner = f'internal; proxy_pass {check}; proxy_pass_request_body off; proxy_set_header Content-Length "";'
        lines.append(f"location = /_let_in {{ {inner} }}")
    if authority is not None:
        pair = authority.sign(f"server-{folder.name}", names)
        lines += [f"ssl_certificate {pair.certificate};", f"ssl_certificate_key {pair.key};"]
    if clients is not None:
        lines += [f"ssl_client_certificate {clients.certificate};", "ssl_verify_client on;"]
    return "\n".join(f"    {line}" for line in lines)


def _access(folder: Path, users: Mapping[str, str], tokens: Sequence[str], check: str) -> str:
    lines = ["auth_request /_let_in;"] if check else []
    if users:
        file = folder / "users"
        file.write_text("".join(f"{user}:{_hashed(password)}\n" for user, password in users.items()))
        lines += ['auth_basic "Tests";', f"auth_basic_user_file {file};"]
    if tokens:
        allowed = "|".join(tokens)
        lines += [
            "set $let_in 0;",
            f'if ($http_authorization ~ "^Bearer ({allowed})$") {{ set $let_in 1; }}',
            'add_header WWW-Authenticate "Bearer realm=Tests" always;',
            "if ($let_in = 0) { return 401; }",
        ]
    return "\n".join(f"      {line}" for line in lines)


def _hashed(password: str) -> str:
    """A password as nginx wants it in its file of users."""
    salt = os.urandom(8)
    return "{SSHA}" + base64.b64encode(hashlib.sha1(password.encode() + salt).digest() + salt).decode()


def _wait(server: Nginx) -> None:
    end = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < end and server.process.poll() is None:
        try:
            with closing(socket.create_connection(("127.0.0.1", server.port), 1.0)):
                return
        except OSError:
            time.sleep(0.02)
    said = (server.folder / "output.log").read_text(errors="replace") + server.log("error")
    pytest.fail(f"nginx does not start:\n{said[-2000:]}")
