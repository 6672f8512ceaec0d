"""A site's key: private, never overwritten, with the same words everywhere and for ever."""

import base64
import itertools
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from pfedsam_flower.cli.__main__ import main
from pfedsam_flower.deployment import site_process
from pfedsam_flower.deployment.certificates import make_certificates, renew_certificate
from pfedsam_flower.deployment.doctor import certificates
from pfedsam_flower.deployment.keys import file_words, key_words, make_site_key, read_public_key
from pfedsam_flower.deployment.words import COUNT, WORDS, differing, words
from pfedsam_flower.errors import SettingsError, StoreError
from pfedsam_flower.settings.site import SiteSettings


def test_one_slip_of_the_tongue_makes_no_other_word():
    assert len(set(WORDS)) == 256
    assert list(WORDS) == sorted(WORDS)
    assert len({word[:3] for word in WORDS}) == 256
    assert all(word.isascii() and word.islower() and 4 <= len(word) <= 9 for word in WORDS)
    for one, other in itertools.combinations(WORDS, 2):
        if len(one) == len(other):
            assert sum(a != b for a, b in zip(one, other, strict=True)) > 1, (one, other)
        elif abs(len(one) - len(other)) == 1:
            longer = max(one, other, key=len)
            assert min(one, other, key=len) not in {longer[:i] + longer[i + 1 :] for i in range(len(longer))}


def test_the_words_of_a_file_never_change():
    # of the SHA-256 of nothing, e3b0c44298fc1c149afb...; another list would break every comparison
    assert words(b"") == "tiger plum salmon engine octopus yogurt button biscuit onion yacht"


@given(st.binary(max_size=64), st.integers(0, COUNT - 1), st.sampled_from(WORDS))
def test_exactly_the_words_that_differ_are_named(content, place, other):
    said = words(content).split()
    heard = [*said[:place], other, *said[place + 1 :]]
    assert differing(" - ".join(heard).upper(), " ".join(said)) == (
        [place + 1] if other != said[place] else []
    )
    assert differing(" ".join(said[:place]), " ".join(said)) == list(range(place + 1, COUNT + 1))
    assert differing(" ".join([*said, other]), " ".join(said)) == [COUNT + 1]


def test_the_private_key_is_for_its_owner_and_the_public_one_is_its_half(tmp_path):
    made = make_site_key(tmp_path / "keys", "north")
    assert stat.S_IMODE(made.private.stat().st_mode) == 0o600
    private = serialization.load_ssh_private_key(made.private.read_bytes(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    kind, body, site = made.public.read_text().split()
    assert (kind, site, private.curve.name) == ("ecdsa-sha2-nistp384", "north", "secp384r1")
    half = serialization.load_ssh_public_key(made.public.read_bytes())
    assert half == private.public_key()
    assert read_public_key(made.public) == f"{kind} {body}"
    assert file_words(made.public) == made.words == key_words(f"{kind} {body}")
    assert make_site_key(tmp_path / "other", "north").words != made.words


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="OpenSSH is not installed")
def test_the_words_are_the_fingerprint_that_openssh_prints(tmp_path):
    made = make_site_key(tmp_path, "north")
    said = subprocess.run(
        ["ssh-keygen", "-lf", made.public], capture_output=True, text=True, check=True
    ).stdout
    fingerprint = base64.b64decode(said.split()[1].removeprefix("SHA256:") + "=")
    assert [WORDS.index(word) for word in made.words.split()] == list(fingerprint[:COUNT])


@pytest.mark.parametrize("left", ["north.key", "north.pub"])
def test_a_key_is_never_overwritten(tmp_path, left):
    (tmp_path / left).write_text("of last year")
    with pytest.raises(StoreError, match=f"there is a {left} already") as caught:
        make_site_key(tmp_path, "north")
    assert caught.value.code == "PFS-605"
    assert (tmp_path / left).read_text() == "of last year"
    assert {path.name for path in tmp_path.iterdir()} == {left, ".lock"}
    make_site_key(tmp_path, "valley")


@pytest.mark.parametrize("site", ["", "a b", "../north", ".hidden", "x" * 65])
def test_a_name_that_no_site_may_have_is_refused_before_anything_is_written(tmp_path, site):
    with pytest.raises(SettingsError, match="site"):
        make_site_key(tmp_path / "keys", site)
    assert not (tmp_path / "keys").exists()


def test_other_files_have_no_words(tmp_path):
    made = make_site_key(tmp_path, "north")
    key = serialization.load_ssh_private_key(made.private.read_bytes(), None)
    pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    foreign = rsa.generate_private_key(65537, 2048).public_key()
    ssh = foreign.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    (tmp_path / "pem.pub").write_bytes(pem)
    (tmp_path / "rsa.pub").write_bytes(ssh)
    (tmp_path / "cut.pub").write_bytes(made.public.read_bytes()[:60])
    for path in (*(tmp_path / name for name in ("pem.pub", "rsa.pub", "cut.pub", "none.pub")), made.private):
        with pytest.raises(StoreError, match="not the public key of a site"):
            file_words(path)


def test_a_file_with_two_certificates_has_no_words_and_no_site_trusts_it(tmp_path):
    for name in ("ours", "theirs"):
        make_certificates(tmp_path / name, ["fl.example.org"])
    ours, theirs = ((tmp_path / name / "ca.crt").read_bytes() for name in ("ours", "theirs"))
    said = file_words(tmp_path / "ours" / "ca.crt")
    mailed = tmp_path / "ca.crt"
    mailed.write_bytes(ours.replace(b"\n", b"\r\n") + b"\n")
    assert file_words(mailed) == said, "line ends are not content"
    site = SiteSettings(
        site="north", data=".", state=".", superlink="x:1", authority=str(mailed), key=str(mailed)
    )
    assert site_process.connection(site, insecure=False)
    assert certificates.files(mailed, (), "site").status == "ok"
    trusted = theirs.replace(b"CERTIFICATE", b"TRUSTED CERTIFICATE")
    for content, said in (
        (ours + theirs, "the file holds 2 certificates"),
        (ours + trusted, "the file holds something beside the certificate"),
        (b"# of the coordinator\n" + ours, "the file holds something beside the certificate"),
    ):
        mailed.write_bytes(content)
        with pytest.raises(StoreError, match=said):
            file_words(mailed)
        with pytest.raises(SettingsError, match=f"(?s)PFS-102.*{said}"):
            site_process.connection(site, insecure=False)
        found = certificates.files(mailed, (), "site")
        assert (found.status, said in found.text) == ("failed", True)
    authority = tmp_path / "ours" / "ca.crt"
    authority.write_bytes(ours + theirs)
    before = (tmp_path / "ours" / "superlink.crt").read_bytes()
    with pytest.raises(StoreError, match="2 certificates"):
        renew_certificate(tmp_path / "ours", [])
    assert (tmp_path / "ours" / "superlink.crt").read_bytes() == before


def test_the_commands_say_the_same_words(tmp_path, capsys):
    assert main(["site-key", str(tmp_path), "--site", "north"]) == 0
    said = capsys.readouterr().out
    assert main(["words", str(tmp_path / "north.pub")]) == 0
    assert said.splitlines()[-1].strip() == capsys.readouterr().out.strip()
    private = Path(tmp_path / "north.key").read_text()
    assert not set(private.splitlines()[1:-1]) & set(said.split())
    assert main(["site-key", str(tmp_path), "--site", "north"]) == 1
