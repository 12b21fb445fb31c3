//! Deleting objects.

use larder::objects::{Condition, ObjectError, Objects};
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject,
    ETagCondition, Error as ListedError, ObjectIdentifier,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::get::check_version;
use super::{Answer, Service};

/// The most objects of one call.
const MAX_OBJECTS: usize = 1000;

pub(super) async fn delete_object(
    service: &Service,
    request: S3Request<DeleteObjectInput>,
) -> Answer<DeleteObjectOutput> {
    let input = request.input;
    let name = service.name(&input.bucket, &input.key)?;
    check_version(input.version_id.as_deref())?;
    if input.if_match_last_modified_time.is_some() || input.if_match_size.is_some() {
        return Err(s3_error!(NotImplemented, "conditions on time and size are not implemented"));
    }
    let condition = match input.if_match {
        None => None,
        Some(ETagCondition::ETag(etag)) => Some(Condition::Etag(etag.into_value())),
        Some(ETagCondition::Any) => {
            // That it is there is all that is asked.
            let name = name.clone();
            let found = service.ask(move |objects| objects.find(&name)).await?;
            Some(Condition::Etag(found.info.details.etag))
        }
    };
    service
        .ask(move |objects| match condition {
            Some(condition) => objects.delete_if(&name, &condition),
            None => match objects.delete(&[name])?.into_iter().next() {
                None => Ok(()),
                Some((_, error)) => Err(ObjectError::Failed(error)),
            },
        })
        .await?;
    Ok(S3Response::new(DeleteObjectOutput::default()))
}

pub(super) async fn delete_objects(
    service: &Service,
    request: S3Request<DeleteObjectsInput>,
) -> Answer<DeleteObjectsOutput> {
    let S3Request { input, .. } = request;
    service.bucket(&input.bucket)?;
    let is_quiet = input.delete.quiet.unwrap_or(false);
    let wanted = input.delete.objects;
    if wanted.is_empty() || wanted.len() > MAX_OBJECTS {
        return Err(s3_error!(MalformedXML, "A delete names 1 to {MAX_OBJECTS} objects."));
    }
    let (mut names, mut errors) = (vec![], vec![]);
    for object in wanted {
        match name_of(service, &input.bucket, &object) {
            Ok(name) => names.push(name),
            Err(error) => errors.push(ListedError {
                code: Some(error.code().as_str().to_owned()),
                message: error.message().map(str::to_owned),
                key: Some(object.key),
                version_id: None,
            }),
        }
    }
    let asked = names.clone();
    let left = service.ask(move |objects: &Objects| objects.delete(&asked)).await?;
    let mut gone: Vec<_> = names.into_iter().map(|name| name.key.to_string()).collect();
    for (name, error) in left {
        gone.retain(|key| key != name.key.as_str());
        let told = service.failed(&ObjectError::Failed(error));
        errors.push(ListedError {
            code: Some(told.code().as_str().to_owned()),
            message: told.message().map(str::to_owned),
            key: Some(name.key.to_string()),
            version_id: None,
        });
    }
    let deleted =
        gone.into_iter().map(|key| DeletedObject { key: Some(key), ..Default::default() });
    Ok(S3Response::new(DeleteObjectsOutput {
        deleted: (!is_quiet).then(|| deleted.collect()),
        errors: (!errors.is_empty()).then_some(errors),
        request_charged: None,
    }))
}

fn name_of(
    service: &Service,
    bucket: &str,
    object: &ObjectIdentifier,
) -> S3Result<larder::objects::ObjectName> {
    check_version(object.version_id.as_deref())?;
    if object.e_tag.is_some() || object.size.is_some() || object.last_modified_time.is_some() {
        let why = "conditions on single objects are not implemented";
        return Err(s3s::S3Error::with_message(S3ErrorCode::NotImplemented, why));
    }
    service.name(bucket, &object.key)
}
