"""The demo world: what an empty installation is filled with, so that there is something to see.

::

    cast.py    the tables: pools, tiers, tenants with what they are promised and how they ask; people
    world.py   makes them through the services, once; a second call completes what is missing
    secrets.py keys and passwords: random per installation, in two private files under VAR_DIR
    traffic.py the tenants' requests, for ever

Every name is invented.
"""
