"""Telling people: an outbox of alerts, channels by Apprise, digests."""
