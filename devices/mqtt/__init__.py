"""MQTT 3.1, 3.1.1 and 5 as bytes in, packets out: no socket, no clock, no asyncio. For servers and for clients."""
