"""What outlives a hub beside MQTT's own: accounts, sessions, stations, commands, audit, in a database."""
