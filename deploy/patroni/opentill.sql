-- Run once on the primary: psql "$SUPERUSER_URL" --set=password="$OPENTILL_PASSWORD" --file=opentill.sql
CREATE ROLE opentill LOGIN PASSWORD :'password';
CREATE DATABASE opentill OWNER opentill;
