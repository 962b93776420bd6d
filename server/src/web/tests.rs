mod calls;
mod figures;
mod pages;
