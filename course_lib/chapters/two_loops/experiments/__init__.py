"""What notebook 02 trained beforehand."""
