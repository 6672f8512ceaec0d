"""A site takes the SuperLink's certificate and nobody else's; keys are private; nothing is overwritten."""

import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pfedsam_flower.cli.__main__ import main
from pfedsam_flower.deployment import certificates
from pfedsam_flower.deployment.certificates import make_certificates, read_certificates, renew_certificate
from pfedsam_flower.errors import SettingsError, StoreError

HOSTS = ["fl.example.org", "192.0.2.10", "2001:db8::1"]
FILES = {"ca.crt", "ca.key", "superlink.crt", "superlink.key"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_certificates(tmp_path / "coordinator", HOSTS)
    return tmp_path / "coordinator"


def shake_hands(server: Path, authority: Path, host: str) -> None:
    """A TLS handshake in memory, with a site that trusts this authority alone and checks strictly."""
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(server / "superlink.crt", server / "superlink.key")
    ours = ssl.create_default_context(cafile=str(authority))
    ours.verify_flags |= ssl.VERIFY_X509_STRICT
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [theirs.wrap_bio(there, back, server_side=True), ours.wrap_bio(back, there, server_hostname=host)]
    done = [False, False]
    for _ in range(10):
        for number in (1, 0):
            try:
                ends[number].do_handshake()
                done[number] = True
            except ssl.SSLWantReadError:
                pass
    assert done == [True, True]


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.mark.parametrize("host", [*HOSTS, "localhost", "127.0.0.1"])
def test_a_site_takes_the_certificate_for_every_host(folder, host):
    shake_hands(folder, folder / "ca.crt", host)


def test_a_site_takes_no_other_host_and_no_other_authority(folder, tmp_path):
    with pytest.raises(ssl.SSLCertVerificationError, match="not valid for"):
        shake_hands(folder, folder / "ca.crt", "other.example.org")
    make_certificates(tmp_path / "impostor", HOSTS)
    with pytest.raises(ssl.SSLCertVerificationError, match="verify failed"):
        shake_hands(tmp_path / "impostor", folder / "ca.crt", HOSTS[0])


def test_an_expired_certificate_is_not_taken_until_it_is_renewed(tmp_path):
    make_certificates(tmp_path, HOSTS, now=datetime.now(UTC) - timedelta(days=400))
    before = contents(tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        shake_hands(tmp_path, tmp_path / "ca.crt", HOSTS[0])
    renewed = renew_certificate(tmp_path, [])
    for host in renewed.hosts:
        shake_hands(tmp_path, tmp_path / "ca.crt", host)
    assert {name for name, content in contents(tmp_path).items() if content != before[name]} == {
        "superlink.crt"
    }


def test_a_renewal_may_name_other_hosts(folder):
    assert renew_certificate(folder, ["new.example.org"]).hosts == (
        "new.example.org",
        "localhost",
        "127.0.0.1",
    )
    shake_hands(folder, folder / "ca.crt", "new.example.org")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(folder, folder / "ca.crt", HOSTS[0])


def test_keys_are_for_their_owner_and_certificates_for_all(folder):
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir() if path.name in FILES}
    assert modes == {"ca.crt": 0o644, "ca.key": 0o600, "superlink.crt": 0o644, "superlink.key": 0o600}


@pytest.mark.parametrize("left", sorted(FILES))
def test_nothing_is_overwritten(folder, left):
    before = contents(folder)
    for name in FILES - {left}:
        (folder / name).unlink()
    with pytest.raises(StoreError, match=f"there is a {left} already") as caught:
        make_certificates(folder, HOSTS)
    assert caught.value.code == "PFS-605"
    assert (folder / left).read_bytes() == before[left]
    assert {path.name for path in folder.iterdir()} == {left, ".lock"}


@pytest.mark.parametrize(
    "host",
    [
        "https://fl.example.org",
        "fl.example.org:8000",
        "*.example.org",
        "1.2.3",
        "0.0.0.0",
        "::",
        "",
        "ü.org",
        "-a",
    ],
)
def test_hosts_that_no_site_can_check_are_refused_together(tmp_path, host):
    with pytest.raises(SettingsError) as caught:
        make_certificates(tmp_path / "new", ["fl.example.org", host, "a b"])
    assert (caught.value.code, caught.value.counts) == ("PFS-104", {"faults": 2})
    assert not (tmp_path / "new").exists()


def test_a_certificate_does_not_outlive_its_authority(tmp_path):
    made = make_certificates(tmp_path, HOSTS, now=datetime(2020, 1, 1, tzinfo=UTC))
    end = made.authority.not_valid_after_utc
    assert end == datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=certificates.AUTHORITY_DAYS)
    assert renew_certificate(tmp_path, [], now=end - timedelta(days=9)).certificate.not_valid_after_utc == end
    with pytest.raises(StoreError, match="authority has expired"):
        renew_certificate(tmp_path, [], now=end + timedelta(days=1))


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_renewal_wants_all_four_files_as_they_belong_together(folder, tmp_path, name):
    make_certificates(tmp_path / "other", HOSTS)
    before = (folder / "superlink.crt").read_bytes()
    for content in ((tmp_path / "other" / name).read_bytes(), b"-----BEGIN", None):
        (folder / name).unlink()
        if content is not None:
            (folder / name).write_bytes(content)
        with pytest.raises(StoreError) as caught:
            renew_certificate(folder, [])
        assert caught.value.code == "PFS-605"
        (folder / name).write_bytes(b"")
    assert name == "superlink.crt" or (folder / "superlink.crt").read_bytes() == before


def test_the_command_says_dates_words_and_how_to_start(tmp_path, capsys):
    folder = tmp_path / "c"
    assert main(["certs", str(folder), "--host", "fl.example.org"]) == 0
    said = capsys.readouterr().out
    assert f"{read_certificates(folder).certificate.not_valid_after_utc:%Y-%m-%d} for fl.example.org" in said
    assert main(["words", str(folder / "ca.crt")]) == 0
    assert capsys.readouterr().out in said
    assert "--enable-supernode-auth" in said
    assert main(["certs", str(folder), "--renew"]) == 0
    assert "for fl.example.org, localhost, 127.0.0.1" in capsys.readouterr().out
    assert main(["certs", str(folder), "--host", "x"]) == 1
