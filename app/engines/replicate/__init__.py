"""Models at Replicate: ask once, follow until it ends, bring the files here.

What was asked is on the disk before it is asked, and the provider's id for it before anything waits for it. So whoever
has the job after a crash goes on with the same prediction. In the gap between the two, the provider's own list tells
whether it was asked for: by our id in the webhook's address, or by the input, the drawn seed included.
"""

SOURCE = "replicate"
