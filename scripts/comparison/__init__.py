"""Methods that paint photographs around vessel maps, trained and measured alike: scripts/two_stage.sh."""
