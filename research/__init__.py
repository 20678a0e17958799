"""Research beside the codec: it imports the package, which never imports it, and is in no wheel."""
