"""Write-through of the memory of moto and the EBS emulator to the state folder, before each answer."""
