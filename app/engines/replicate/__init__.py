"""Engine for Replicate: create a prediction once, poll until it ends, download its files.

The intent is stored before the prediction is created, and the provider's id before waiting for it, so that the next
attempt after a crash continues with the same prediction. For a crash between the two, the prediction is looked up in
the provider's list: by our id in the webhook's URL, or by its input, which includes the seed.
"""

SOURCE = "replicate"
