#!/bin/bash
# Run by the image of PostgreSQL when it makes the database of regions.yaml: lets standbys in, which the image does not by itself.
set -e
echo 'host replication all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
