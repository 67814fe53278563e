"""The book as HTML."""

import shutil
import subprocess

NEEDED = "mdbook is not there: `scripts/soak book` installs the version that this book was made for"


def build(root):
    if not shutil.which("mdbook"):
        print(NEEDED)
        return 69
    return subprocess.run(["mdbook", "build", str(root), "--dest-dir", str(root / "target/book/html")]).returncode
