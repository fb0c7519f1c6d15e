-- Room for updates in place beside each row, so that a counter's index entries stay as they are.
CREATE TABLE stock (
  sku text NOT NULL,
  node text NOT NULL,
  available bigint NOT NULL CHECK (available >= 0),
  PRIMARY KEY (sku, node)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01);

CREATE TABLE reservation (
  reservation_id uuid PRIMARY KEY,
  request_id text NOT NULL UNIQUE,
  owner text NOT NULL,
  state "char" NOT NULL DEFAULT 'h',
  expire_time timestamptz NOT NULL,
  skus text[] NOT NULL,
  nodes text[] NOT NULL,
  units bigint[] NOT NULL
);
CREATE INDEX reservation_due ON reservation (expire_time) WHERE state = 'h';

-- One order in one round trip. Lines come in the order of (sku, node), so that two orders never wait
-- for each other in a circle. Returns the reservation, this one's or the one the same request made
-- before; a short line raises, which undoes everything.
CREATE FUNCTION reserve(
  new_id uuid, request text, holder text, ttl_s double precision,
  wanted_skus text[], wanted_nodes text[], wanted_units bigint[]
) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
  made uuid;
BEGIN
  INSERT INTO reservation (reservation_id, request_id, owner, expire_time, skus, nodes, units)
  VALUES (new_id, request, holder, now() + make_interval(secs => ttl_s),
          wanted_skus, wanted_nodes, wanted_units)
  ON CONFLICT (request_id) DO NOTHING;
  IF NOT FOUND THEN
    SELECT reservation_id INTO made FROM reservation WHERE request_id = request;
    RETURN made;
  END IF;
  FOR line IN 1 .. cardinality(wanted_skus) LOOP
    UPDATE stock SET available = available - wanted_units[line]
    WHERE sku = wanted_skus[line] AND node = wanted_nodes[line]
      AND available >= wanted_units[line];
    IF NOT FOUND THEN
      RAISE EXCEPTION 'short: %@%', wanted_skus[line], wanted_nodes[line] USING ERRCODE = 'HF001';
    END IF;
  END LOOP;
  RETURN new_id;
END $$;
