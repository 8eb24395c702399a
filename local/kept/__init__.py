"""What moto and the EBS emulator hold in memory, written through to the state folder before an answer leaves."""
