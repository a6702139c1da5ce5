"""Connections through an nginx before Orthanc: TLS, certificates of clients, passwords, tokens that end."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.certificates import Authority
from support.folders import write_ct
from support.issuer import Issuer, start_issuer
from support.nginx import Nginx, start_nginx
from support.orthanc import Orthanc

from dicombridge.errors import AuthenticationError, UnreachableError, WebError
from dicombridge.web.authentication import SignIn, credentials_for
from dicombridge.web.connection import Connection
from dicombridge.web.retrying import NEVER
from dicombridge.web.secrets import Secrets
from dicombridge.web.servers import Authentication, Server, Tls

STUDIES = 12
PASSPHRASE = "open sesame"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def filled(orthanc_session: Orthanc, tmp_path_factory: pytest.TempPathFactory) -> Orthanc:
    """An Orthanc with a dozen images."""
    if orthanc_session.process is None:
        orthanc_session.start()
    orthanc_session.clear()
    folder = tmp_path_factory.mktemp("images")
    for number in range(STUDIES):
        write_ct(folder / f"{number}.dcm", InstanceNumber=number)
    assert orthanc_session.add(folder.iterdir()) == {}
    return orthanc_session


@pytest.fixture
def tls(filled: Orthanc, authority: Authority, tmp_path: Path) -> Iterator[Nginx]:
    with start_nginx(tmp_path / "tls", filled.rest, authority) as server:
        yield server


@pytest.fixture
def certified(filled: Orthanc, authority: Authority, tmp_path: Path) -> Iterator[Nginx]:
    """An nginx that wants certificates of clients."""
    with start_nginx(tmp_path / "certified", filled.rest, authority, clients=authority) as server:
        yield server


def instances(server: Server, secrets: Secrets | None = None) -> list[str]:
    """Addresses of all instances."""
    credentials = credentials_for(server, secrets or Secrets({}))
    with Connection(server, credentials, retries=NEVER) as connection:
        return instances_through(connection)


def test_private_authority(tls: Nginx, authority: Authority, tmp_path: Path) -> None:
    trusting = Server(tls.url, tls=Tls(ca_bundle=str(authority.certificate)))
    assert len(instances(trusting)) == STUDIES
    by_name = trusting.changed(url=tls.url.replace("127.0.0.1", "localhost"))
    assert len(instances(by_name)) == STUDIES
    stranger = Authority(tmp_path, "Somebody else's authority")
    for server in (Server(tls.url), trusting.changed(tls=Tls(ca_bundle=str(stranger.certificate)))):
        with pytest.raises(UnreachableError, match="is not trusted") as caught:
            instances(server)
        assert "CA bundle" in str(caught.value)
    assert tls.statuses(2) == [200, 200], "where the authority is not trusted, no request goes out"


def test_certificate_of_another_host(filled: Orthanc, authority: Authority, tls: Nginx, tmp_path: Path) -> None:
    with start_nginx(tmp_path / "n", filled.rest, authority, names=("other.example.org",)) as server:
        trusting = Server(server.url, tls=Tls(ca_bundle=str(authority.certificate)))
        with pytest.raises(UnreachableError, match=r"is not trusted.*127\.0\.0\.1"):
            instances(trusting)
        assert server.statuses(0) == []


def test_the_environment_does_not_switch_verification_off(
    tls: Nginx, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = Authority(tmp_path, "Somebody else's authority")
    trusting = Server(tls.url, tls=Tls(ca_bundle=str(authority.certificate)))
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(stranger.certificate))
        assert len(instances(trusting)) == STUDIES, "the server's own bundle goes first"
        monkeypatch.setenv(name, "")
        monkeypatch.setenv("PYTHONHTTPSVERIFY", "0")
        with pytest.raises(UnreachableError, match="is not trusted"):
            instances(Server(tls.url))


def test_password_over_tls(filled: Orthanc, authority: Authority, tmp_path: Path) -> None:
    users = {"anna": "pa:ss w\u00f6rd"}
    with start_nginx(tmp_path / "n", filled.rest, authority, users=users) as nginx:
        server = Server(
            nginx.url,
            authentication=Authentication("basic", {"user": "anna"}),
            tls=Tls(ca_bundle=str(authority.certificate)),
        )
        secrets = Secrets({})
        secrets.set(server, "password", users["anna"])
        assert len(instances(server, secrets)) == STUDIES
        secrets.set(server, "password", "wrong")
        with pytest.raises(AuthenticationError, match="does not accept") as caught:
            instances(server, secrets)
        assert caught.value.challenge == 'Basic realm="Tests"'
        with pytest.raises(AuthenticationError, match="wants to know who asks"):
            instances(server.changed(authentication=Authentication()))
        assert nginx.statuses(3) == [200, 401, 401]


def test_token_over_tls(filled: Orthanc, authority: Authority, tmp_path: Path) -> None:
    with start_nginx(tmp_path / "n", filled.rest, authority, tokens=["good-one", "good-two"]) as nginx:
        server = Server(
            nginx.url, authentication=Authentication("bearer"), tls=Tls(ca_bundle=str(authority.certificate))
        )
        secrets = Secrets({})
        for token in ("good-one", "good-two"):
            secrets.set(server, "token", token)
            assert len(instances(server, secrets)) == STUDIES
        secrets.set(server, "token", "good-three")
        with pytest.raises(AuthenticationError, match="does not accept"):
            instances(server, secrets)
        assert nginx.statuses(3) == [200, 200, 401]


def with_certificate(nginx: Nginx, authority: Authority, certificate: Path, key: Path | None = None) -> Server:
    return Server(
        nginx.url,
        authentication=Authentication("certificate"),
        tls=Tls(str(authority.certificate), str(certificate), str(key or "")),
    )


def test_certificates_of_clients(certified: Nginx, authority: Authority, tmp_path: Path) -> None:
    pair = authority.sign("client")
    assert len(instances(with_certificate(certified, authority, pair.certificate, pair.key))) == STUDIES
    both = tmp_path / "both.pem"
    both.write_bytes(pair.certificate.read_bytes() + pair.key.read_bytes())
    assert len(instances(with_certificate(certified, authority, both))) == STUDIES
    stranger = Authority(tmp_path / "s", "Somebody else's authority").sign("client")
    for server in (
        Server(certified.url, tls=Tls(ca_bundle=str(authority.certificate))),
        with_certificate(certified, authority, stranger.certificate, stranger.key),
    ):
        with pytest.raises(WebError):
            instances(server)
    assert [one for one in certified.statuses(2) if one < 300] == [200, 200]


@pytest.mark.parametrize("together", [False, True])
def test_encrypted_keys_of_clients(together: bool, certified: Nginx, authority: Authority, tmp_path: Path) -> None:
    pair = authority.sign(f"locked-{together}", passphrase=PASSPHRASE)
    both = tmp_path / "both.pem"
    both.write_bytes(pair.certificate.read_bytes() + pair.key.read_bytes())
    server = (
        with_certificate(certified, authority, both)
        if together
        else with_certificate(certified, authority, pair.certificate, pair.key)
    )
    secrets = Secrets({})
    for wrong in (None, "wrong", ""):
        if wrong is not None:
            secrets.set(server, "passphrase", wrong)
        with pytest.raises(AuthenticationError, match="passphrase") as caught:
            instances(server, secrets)
        assert caught.value.needs == ("passphrase",)
    secrets.set(server, "passphrase", PASSPHRASE)
    assert len(instances(server, secrets)) == STUDIES


def test_certificates_that_are_none(certified: Nginx, authority: Authority, tmp_path: Path) -> None:
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("no certificate")
    rubbish.chmod(stat.S_IRUSR)
    with pytest.raises(AuthenticationError, match="cannot be used"):
        instances(with_certificate(certified, authority, rubbish))
    with pytest.raises(AuthenticationError, match="there is no file"):
        instances(with_certificate(certified, authority, tmp_path / "absent.pem"))
    with pytest.raises(AuthenticationError, match="is not given"):
        instances(Server(certified.url, authentication=Authentication("certificate")))


@pytest.mark.parametrize("grant", ["device", "client_credentials"])
def test_tokens_that_end_in_the_middle_of_a_transfer(
    grant: str, filled: Orthanc, authority: Authority, tmp_path: Path
) -> None:
    """nginx asks the issuer about each request, and a token passes five times; all instances arrive whole."""
    with (
        start_issuer(uses=5, client_secret="geheim") as issuer,
        start_nginx(tmp_path / "n", filled.rest, authority, check=issuer.check) as nginx,
    ):
        server, secrets = behind(issuer, nginx, authority, grant)
        told: list[SignIn] = []
        stored = {filled.file_of(one) for one in filled.instance_ids()}
        received = set()
        credentials = credentials_for(server, secrets, sign_in=told.append)
        with Connection(server, credentials, retries=NEVER) as connection:
            for one in instances_through(connection):
                with connection.get(f"{server.url}/{one}", 'multipart/related; type="application/dicom"') as answer:
                    received.add(the_part(answer.read(1 << 22)))
        assert received == stored
        assert len(issuer.given) == 3
        statuses = nginx.statuses(STUDIES + 3)
        assert (statuses.count(200), statuses.count(401)) == (STUDIES + 1, 2)
        assert len(told) == (grant == "device")


def behind(issuer: Issuer, nginx: Nginx, authority: Authority, grant: str) -> tuple[Server, Secrets]:
    fields = {"issuer": issuer.url, "client_id": "viewer", "grant": grant}
    tls = Tls(ca_bundle=str(authority.certificate))
    server = Server(nginx.url, authentication=Authentication("oidc", fields), tls=tls)
    secrets = Secrets({})
    secrets.set(server, "client_secret", "geheim")
    return server, secrets


def instances_through(connection: Connection) -> list[str]:
    with connection.get(f"{connection.server.url}/instances", "application/dicom+json") as answer:
        found = answer.json()
    keys = ("0020000D", "0020000E", "00080018")
    uids = [[one[key]["Value"][0] for key in keys] for one in found]
    return [f"studies/{study}/series/{series}/instances/{instance}" for study, series, instance in uids]


def the_part(body: bytes) -> bytes:
    """The one part of a multipart body."""
    boundary, _, rest = body.lstrip(b"\r\n").partition(b"\r\n")
    content, _, end = rest.partition(b"\r\n\r\n")[2].rpartition(b"\r\n" + boundary)
    assert end.strip() == b"--"
    return content


def test_an_issuer_with_a_private_authority(filled: Orthanc, authority: Authority, tmp_path: Path) -> None:
    """Hospitals have one authority for the archive and for signing in; a bundle of the issuer's own goes first."""
    stranger = Authority(tmp_path / "s", "Somebody else's authority")
    with (
        start_issuer() as issuer,
        start_nginx(tmp_path / "i", issuer.url, authority) as door,
        start_nginx(tmp_path / "n", filled.rest, authority, check=issuer.check) as nginx,
    ):
        fields = {"client_id": "viewer", "grant": "client_credentials", "token_endpoint": f"{door.root}/token"}

        def count(own: str, servers: str) -> int:
            more = {"ca_bundle": own} if own else {}
            authentication = Authentication("oidc", {**fields, **more})
            server = Server(nginx.url, authentication=authentication, tls=Tls(ca_bundle=servers))
            secrets = Secrets({})
            secrets.set(server, "client_secret", "geheim")
            return len(instances(server, secrets))

        good, bad = str(authority.certificate), str(stranger.certificate)
        assert count("", good) == STUDIES
        with pytest.raises(UnreachableError, match="where one signs in"):
            count(bad, good)
        assert len(issuer.given) == 1
        with pytest.raises(UnreachableError, match="is not trusted"):
            count(good, bad)
