"""The work on the tasks of a run: pictures, clips and archives are read, enlarged, written and recorded."""
