"""What the startup script runs on a host; standard library only, Python 3.10 or later.

`iris_platform.bootstrap.render` packs this package, and the few modules of
`iris_platform` that it imports, into the script. There it is found under the same
names, with nothing else of Iris around it.
"""
