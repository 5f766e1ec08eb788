-- A small store for tests: who works at the gate's side logs in as gate_writer.
CREATE TABLE public.orders (id int PRIMARY KEY, customer text NOT NULL, cents int NOT NULL);
INSERT INTO public.orders SELECT n, 'customer ' || n, n * 100 FROM generate_series(1, 100) AS n;
CREATE TABLE public.secrets (id int PRIMARY KEY, word text);
INSERT INTO public.secrets VALUES (1, 'swordfish');
CREATE TABLE public.parents (id int PRIMARY KEY);
CREATE TABLE public.children (
    id int PRIMARY KEY,
    parent int REFERENCES public.parents (id) DEFERRABLE INITIALLY DEFERRED
);
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO gate_writer;
GRANT USAGE, CREATE ON SCHEMA public TO gate_writer;
