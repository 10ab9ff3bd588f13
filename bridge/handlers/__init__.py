"""What each browser event does: plain functions of (gateway, peer, payload); `bridge.events` says which is for which."""
