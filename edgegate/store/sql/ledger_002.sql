-- The few open sessions that draw on several lots: they are looked for by each of them.
CREATE INDEX session_lots ON session (id) WHERE instr(body, '"lots":');
