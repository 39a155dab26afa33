"""How messages leave: signed webhooks over HTTP, to addresses that may be reached at all.

    signing    the signature a receiver checks (the Standard Webhooks scheme), and how to check it
    targets    which addresses are refused: nobody may use the portal to reach into its own network
    webhook    sends many messages at once, each within a bounded time, and reads a bounded answer

E-mail goes through ``portal.lib.mail``. Nothing here knows what a message is about.
"""
