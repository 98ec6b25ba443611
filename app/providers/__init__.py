"""The HTTP of remote providers. It knows no SQL, no Flask and no files of ours."""
