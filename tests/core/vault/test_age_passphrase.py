"""The format of age with a passphrase: other implementations open what this one seals and the reverse, and
nothing that was changed opens."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from pathlib import Path

import pyrage
import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from keyturn.vault import age_passphrase, passphrase
from keyturn.vault.age_passphrase import CHUNK_SIZE, DamagedError, PassphraseError, open_sealed, seal
from tests.core.vault.age_program import run_age

SECRET = b"pferd"
TEXT = SECRET.decode()
#: The least work that the format has.
WEAK = 1
SIZES = [0, 1, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 2 * CHUNK_SIZE, 3 * CHUNK_SIZE + 17]


def _contents(size: int) -> bytes:
    return (b"0123456789abcdef" * (size // 16 + 1))[:size]


@pytest.mark.parametrize("size", SIZES)
def test_pyrage_opens_ours_and_we_open_our_own(size: int) -> None:
    sealed = seal(_contents(size), SECRET, WEAK)
    assert pyrage.passphrase.decrypt(sealed, TEXT) == _contents(size)
    assert open_sealed(sealed, SECRET) == _contents(size)


def test_we_open_what_pyrage_sealed() -> None:
    """It chooses the work itself, so one file of several chunks stands for all sizes."""
    sealed = pyrage.passphrase.encrypt(_contents(2 * CHUNK_SIZE + 5), TEXT)
    if age_passphrase.parse_header(sealed).factor <= age_passphrase.MAX_FACTOR:
        assert open_sealed(sealed, SECRET) == _contents(2 * CHUNK_SIZE + 5)


@pytest.mark.parametrize("size", SIZES)
def test_the_age_program_opens_ours(size: int, tmp_path: Path) -> None:
    sealed, opened = tmp_path / "sealed.age", tmp_path / "opened"
    sealed.write_bytes(seal(_contents(size), SECRET, WEAK))
    run_age(TEXT, "-d", "-o", str(opened), str(sealed))
    # age creates its output with the first byte.
    assert (opened.read_bytes() if size else b"") == _contents(size)


@pytest.mark.parametrize("size", [0, CHUNK_SIZE, CHUNK_SIZE + 1])
def test_we_open_what_the_age_program_sealed(size: int, tmp_path: Path) -> None:
    plain, sealed = tmp_path / "plain", tmp_path / "sealed.age"
    plain.write_bytes(_contents(size))
    run_age(TEXT, "-p", "-o", str(sealed), str(plain))
    assert open_sealed(sealed.read_bytes(), SECRET) == _contents(size)


def test_new_files_have_the_factor_17() -> None:
    sealed = seal(b"", SECRET, passphrase.FACTOR)
    assert sealed.split(b"\n")[1].endswith(b" 17")
    assert len(sealed) == len(seal(b"", SECRET, WEAK)) + 1, "nothing else differs"


def test_no_two_files_are_alike() -> None:
    first, second = (seal(b"", SECRET, WEAK) for _ in range(2))
    header, other = age_passphrase.parse_header(first), age_passphrase.parse_header(second)
    assert header.salt != other.salt
    assert header.wrapped_key != other.wrapped_key
    assert first[-32:] != second[-32:]


@pytest.mark.parametrize("wrong", [b"", b"pferde", b"Pferd", b"\xff"])
def test_another_passphrase_does_not_open(wrong: bytes) -> None:
    with pytest.raises(PassphraseError):
        open_sealed(seal(b"contents", SECRET, WEAK), wrong)


def test_no_truncation_opens() -> None:
    sealed = seal(b"contents", SECRET, WEAK)
    for length in range(len(sealed)):
        with pytest.raises((DamagedError, PassphraseError)):
            open_sealed(sealed[:length], SECRET)
    with pytest.raises(DamagedError):
        open_sealed(sealed + b"\0", SECRET)


def test_no_changed_bit_opens() -> None:
    sealed = seal(b"contents", SECRET, WEAK)
    for position in range(len(sealed)):
        for bit in range(8):
            changed = bytearray(sealed)
            changed[position] ^= 1 << bit
            with pytest.raises((DamagedError, PassphraseError)):
                open_sealed(bytes(changed), SECRET)


def _chunks(sealed: bytes) -> tuple[bytes, list[bytes]]:
    """Return a file's header with the nonce, and its chunks."""
    start = age_passphrase.parse_header(sealed).size + 16
    size = CHUNK_SIZE + 16
    return sealed[:start], [sealed[at : at + size] for at in range(start, len(sealed), size)]


@pytest.mark.parametrize(
    "change",
    [
        lambda chunks: chunks[:-1],
        lambda chunks: chunks[1:],
        lambda chunks: [chunks[1], chunks[0], chunks[2]],
        lambda chunks: [chunks[0], *chunks],
        lambda chunks: [*chunks, chunks[-1]],
        lambda _chunks: [],
    ],
    ids=["cut at a chunk", "without the first", "exchanged", "doubled", "continued", "without any"],
)
def test_chunks_stay_complete_and_in_their_order(change: Callable[[list[bytes]], list[bytes]]) -> None:
    head, chunks = _chunks(seal(_contents(3 * CHUNK_SIZE), SECRET, WEAK))
    assert len(chunks) == 3
    with pytest.raises(DamagedError):
        open_sealed(head + b"".join(change(chunks)), SECRET)


def _resealed(mac: Callable[[bytes], bytes], chunks: Callable[[ChaCha20Poly1305], bytes]) -> bytes:
    """Return a file from the specification, with its own MAC and chunks.

    :param mac: takes the right MAC.
    """
    file_key, salt, nonce = b"k" * 16, b"s" * 16, b"n" * 16
    label = b"age-encryption.org/v1/scrypt"
    wrapping = hashlib.scrypt(SECRET, salt=label + salt, n=2, r=8, p=1, dklen=32)
    body = ChaCha20Poly1305(wrapping).encrypt(bytes(12), file_key, None)
    signed = b"age-encryption.org/v1\n-> scrypt %b 1\n%b\n---" % (_b64(salt), _b64(body))
    right = hmac.digest(_hkdf(file_key, bytes(32), b"header"), signed, "sha256")
    payload = chunks(ChaCha20Poly1305(_hkdf(file_key, nonce, b"payload")))
    return signed + b" " + _b64(mac(right)) + b"\n" + nonce + payload


def _b64(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")


def _hkdf(key: bytes, salt: bytes, info: bytes) -> bytes:
    return hmac.digest(hmac.digest(salt, key, "sha256"), info + b"\1", "sha256")


def _one_chunk(cipher: ChaCha20Poly1305) -> bytes:
    return cipher.encrypt(bytes(11) + b"\1", b"contents", None)


def _full_and_empty_chunk(cipher: ChaCha20Poly1305) -> bytes:
    return cipher.encrypt(bytes(12), bytes(CHUNK_SIZE), None) + cipher.encrypt(bytes(10) + b"\1\1", b"", None)


def test_the_mac_of_the_header_is_verified() -> None:
    assert open_sealed(_resealed(lambda right: right, _one_chunk), SECRET) == b"contents"
    for wrong in (lambda _: bytes(32), lambda right: right[:-1] + bytes([right[-1] ^ 4])):
        with pytest.raises(DamagedError, match="header"):
            open_sealed(_resealed(wrong, _one_chunk), SECRET)


def test_an_empty_chunk_after_others_is_refused_as_age_does() -> None:
    sealed = _resealed(lambda right: right, _full_and_empty_chunk)
    with pytest.raises(DamagedError, match="empty chunk"):
        open_sealed(sealed, SECRET)
    with pytest.raises(pyrage.DecryptError):
        pyrage.passphrase.decrypt(sealed, TEXT)


_STANZA = b"-> scrypt " + b"A" * 22 + b" 1\n" + b"A" * 43 + b"\n"
_END = b"--- " + b"A" * 43 + b"\n" + bytes(48)
_VERSION = b"age-encryption.org/v1\n"


def test_a_header_from_the_specification_is_parsed() -> None:
    header = age_passphrase.parse_header(_VERSION + _STANZA + _END)
    assert (header.factor, header.salt, header.wrapped_key, header.mac) == (
        1,
        bytes(16),
        bytes(32),
        bytes(32),
    )


@pytest.mark.parametrize(
    "changed",
    [
        _VERSION + _STANZA * 2 + _END,
        _VERSION + _STANZA + b"-> grease\n\n" + _END,
        _VERSION + b"-> grease\n\n" + _STANZA + _END,
        _VERSION + _END,
        _VERSION.replace(b"1", b"2") + _STANZA + _END,
        _VERSION.replace(b"\n", b"\r\n") + _STANZA + _END,
        _VERSION + _STANZA.replace(b" 1\n", b" 01\n") + _END,
        _VERSION + _STANZA.replace(b" 1\n", b" +1\n") + _END,
        _VERSION + _STANZA.replace(b" 1\n", b" 0\n") + _END,
        _VERSION + _STANZA.replace(b" 1\n", b" 1 \n") + _END,
        _VERSION + _STANZA.replace(b" 1\n", b" 1 1\n") + _END,
        _VERSION + _STANZA.replace(b"A" * 22, b"A" * 21 + b"B") + _END,
        _VERSION + _STANZA.replace(b"A" * 43, b"A" * 42 + b"B") + _END,
        _VERSION + _STANZA.replace(b"A" * 43, b"A" * 43 + b"=") + _END,
        _VERSION + _STANZA + _END.replace(b"A" * 43, b"A" * 42 + b"B"),
        _VERSION + _STANZA + _END[:-17],
    ],
)
def test_another_header_is_refused_before_any_work(changed: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(hashlib, "scrypt")
    with pytest.raises(DamagedError):
        open_sealed(changed, SECRET)


def test_a_factor_above_the_limit_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(hashlib, "scrypt")
    for factor in (b"21", b"30", b"99"):
        with pytest.raises(DamagedError, match="work factor"):
            open_sealed(_VERSION + _STANZA.replace(b" 1\n", b" " + factor + b"\n") + _END, SECRET)
