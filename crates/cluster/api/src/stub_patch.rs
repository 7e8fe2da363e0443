//! temporary
use serde_json::Value;
pub fn json(o:&Value,_:&Value)->hako_error::Result<Value>{Ok(o.clone())}
pub fn merge(o:&Value,_:&Value)->Value{o.clone()}
pub fn strategic(o:&Value,_:&Value,_:&str)->hako_error::Result<Value>{Ok(o.clone())}
