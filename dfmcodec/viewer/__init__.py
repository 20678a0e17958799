"""Viewing files outside Python: a page in the browser, the system's viewer, and desktop
integration.

The page itself is in the folder `web/`, installed as `dfmcodec.web`.
"""
