"""Will it fit: peak memory and time foretold from a config alone, and the settings that make a run fit."""
