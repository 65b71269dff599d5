"""A page in the browser that shows robots and numbers while they change: of the standard library and files here."""
