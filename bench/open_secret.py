"""Opening one sealed secret against bare AES-GCM of the same bytes, as ratios.

    ./operalta bench open_secret          (or: .venv/bin/python -m bench.open_secret)

With the company's key unwrapped anew each time, with it remembered as between the requests of one process, and the
ground that both stand on. No database: that adds the same to each. Prints medians of paired rounds and never judges.
"""

import secrets
import shutil
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bench.file_open import paired
from operalta.kernel.ids import CompanyId, new_id
from operalta.sealing.company_keys import CompanyKeys
from operalta.sealing.envelope import Envelope, Location
from operalta.sealing.keys import RootKeys, new_root_key_text

SECRET = secrets.token_bytes(64)


def measure(folder: Path) -> None:
    """Print what opening costs."""
    roots = RootKeys.from_text(new_root_key_text())
    company, place = CompanyId(new_id()), Location("credentials.secrets", new_id(), "sealed", 1)
    warm = Envelope(CompanyKeys(folder, roots))
    sealed = warm.seal(company, place, SECRET)
    bare, nonce = AESGCM(AESGCM.generate_key(256)), secrets.token_bytes(12)
    ciphertext = bare.encrypt(nonce, SECRET, None)
    medians = paired(
        {
            "bare AES-GCM": lambda: bare.decrypt(nonce, ciphertext, None),
            "a secret, key remembered": lambda: warm.open(company, place, sealed),
            "a secret, key unwrapped anew": lambda: Envelope(CompanyKeys(folder, roots)).open(company, place, sealed),
        }
    )
    base = medians["bare AES-GCM"]
    print(f"{'one secret of 64 bytes':40} {'µs':>8} {'ratio':>7}")
    for call, value in medians.items():
        print(f"{call:40} {value:8.2f} {value / base:7.2f}")


def main() -> None:
    """Make a folder, measure in it, and take it away."""
    folder = Path(tempfile.mkdtemp(prefix="op-bench-", dir="/tmp"))
    try:
        measure(folder / "company-keys")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    from operalta.operations.privileges import leave_root

    leave_root(Path(__file__).resolve().parent.parent, (), module="bench.open_secret")
    main()
