"""HTTP clients of remote providers. Independent of SQL, Flask and the media folders."""
