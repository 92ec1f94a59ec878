"""What is told to merchants: the feed of events, signed webhooks, and who may be called out to."""
