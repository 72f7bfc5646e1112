mod asynchronous;
mod crashes;
mod doubles;
mod ordering;
mod registry;
mod retries;
mod world;
