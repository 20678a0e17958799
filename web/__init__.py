"""The viewer in the browser: JavaScript, and the Python that makes one file of it."""
