"""A cluster's certificates: its authority, what it signs, and the files of those who hold one.

Needs the extra `iris-platform[pki]`; nothing else in `iris_platform` imports it.
`names` is plain text work, `certificates` the only module with cryptography in it
but for files, `authority` the controller's side, `keyring` everybody else's.
"""
