"""What shows files outside of Python: a page in the browser, the system's viewer, and the desktop.

The page itself is the folder `web/`, which installations have as `dfmcodec.web`.
"""
