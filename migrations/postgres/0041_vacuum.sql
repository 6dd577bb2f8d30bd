-- A morning leaves two dead versions of each delivery and one of each attempt. They are swept after each morning, not
-- when a fifth of all mornings has changed: the queue's own index would be full of them meanwhile.
ALTER TABLE delivery SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
ALTER TABLE attempt SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
