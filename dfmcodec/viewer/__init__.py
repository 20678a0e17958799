"""Files outside Python: the page of `web/` (`dfmcodec.web`), the system's viewer, desktop files."""
