"""Writes the manual page from the help of the commands.

python docs/make_man.py > docs/dfm.1
"""

from __future__ import annotations

from dfmcodec.cli._manual import manual_page as page

if __name__ == "__main__":
    print(page(), end="")
