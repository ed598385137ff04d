"""From silver to gold: continuous minutes, bars, trade ids, the universe."""
