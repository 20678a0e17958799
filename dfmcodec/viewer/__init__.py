"""Files outside Python: the page of `web/` (`dfmcodec.web`) and the system's viewer."""
