// The AWS SDK for Java: the story that every client of buckets goes through.

import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.http.*;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import software.amazon.awssdk.core.async.AsyncRequestBody;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.services.s3.*;
import software.amazon.awssdk.services.s3.model.*;
import software.amazon.awssdk.services.s3.presigner.S3Presigner;
import software.amazon.awssdk.transfer.s3.S3TransferManager;

public class Story {
    static final String BUCKET = "story";
    static final List<String> AWKWARD = List.of("a b+c%d.txt", "ünï/日本/🦀", "a//b", "q'\"<&>?#;=@");
    // The address, the region and the keys are in the environment, as for any other server.
    static final S3Client s3 = S3Client.builder().forcePathStyle(true).build();

    static void check(boolean holds, Object what) {
        if (!holds) throw new AssertionError(what);
    }

    static void same(Object is, Object expected) {
        check(Objects.equals(is, expected), is + " is not " + expected);
    }

    static PutObjectResponse put(String key, String body) {
        return s3.putObject(put -> put.bucket(BUCKET).key(key), RequestBody.fromString(body));
    }

    static byte[] read(String key) {
        return s3.getObjectAsBytes(get -> get.bucket(BUCKET).key(key)).asByteArray();
    }

    static String text(String key) {
        return new String(read(key), StandardCharsets.UTF_8);
    }

    static byte[] pattern(int length) {
        byte[] phrase = "all work and no play, ".getBytes();
        byte[] bytes = new byte[length];
        for (int at = 0; at < length; at++) bytes[at] = phrase[at % phrase.length];
        return bytes;
    }

    static <E extends AwsServiceException> void refused(Class<E> type, String code, int status, Callable<?> call)
            throws Exception {
        try {
            call.call();
        } catch (AwsServiceException error) {
            check(type.isInstance(error) && error.statusCode() == status
                && (code == null || code.equals(error.awsErrorDetails().errorCode())), error);
            return;
        }
        throw new AssertionError("not refused with " + code);
    }

    public static void main(String[] arguments) throws Exception {
        s3.createBucket(create -> create.bucket(BUCKET));
        s3.headBucket(head -> head.bucket(BUCKET));
        same(s3.listBuckets().buckets().stream().map(Bucket::name).toList(), List.of(BUCKET));
        s3.putBucketNotificationConfiguration(put -> put.bucket(BUCKET).notificationConfiguration(all ->
            all.lambdaFunctionConfigurations(one -> one.id("told").lambdaFunctionArn(System.getenv("FUNCTION_ARN"))
                .events(Event.S3_OBJECT_CREATED, Event.S3_OBJECT_REMOVED, Event.S3_OBJECT_TAGGING))));
        var set = s3.getBucketNotificationConfiguration(get -> get.bucket(BUCKET)).lambdaFunctionConfigurations();
        same(Set.copyOf(set.get(0).events()),
            Set.of(Event.S3_OBJECT_CREATED, Event.S3_OBJECT_REMOVED, Event.S3_OBJECT_TAGGING));

        // Small and empty ones, odd names, what a head says of them.
        var plain = s3.putObject(put -> put.bucket(BUCKET).key("plain.txt").contentType("text/plain; charset=utf-8")
            .metadata(Map.of("colour", "blue")), RequestBody.fromString("hello"));
        var digest = MessageDigest.getInstance("MD5").digest("hello".getBytes());
        same(plain.eTag(), "\"" + HexFormat.of().formatHex(digest) + "\"");
        check(plain.checksumCRC32() != null, "the checksum that the SDK computes is kept");
        var head = s3.headObject(ask -> ask.bucket(BUCKET).key("plain.txt").checksumMode(ChecksumMode.ENABLED));
        same(List.of(head.contentLength(), head.contentType(), head.metadata(), head.eTag(), head.checksumCRC32()),
            List.of(5L, "text/plain; charset=utf-8", Map.of("colour", "blue"), plain.eTag(), plain.checksumCRC32()));
        put("empty", "");
        same(read("empty").length, 0);
        for (String key : AWKWARD) {
            put(key, key);
            same(text(key), key);
        }

        // A stream whose length is told, one whose length is not, and parts of one, by the transfer manager.
        byte[] file = pattern(70_000), streamed = pattern(300_000), large = pattern((12 << 20) + 3);
        s3.putObject(put -> put.bucket(BUCKET).key("file"),
            RequestBody.fromInputStream(new ByteArrayInputStream(file), file.length));
        s3.putObject(put -> put.bucket(BUCKET).key("streamed"),
            RequestBody.fromContentProvider(() -> new ByteArrayInputStream(streamed), "text/plain"));
        ExecutorService threads = Executors.newCachedThreadPool();
        try (S3AsyncClient async = S3AsyncClient.builder().forcePathStyle(true).multipartEnabled(true)
                .multipartConfiguration(parts -> parts.minimumPartSizeInBytes(5L << 20).thresholdInBytes(5L << 20))
                .build();
             S3TransferManager transfers = S3TransferManager.builder().s3Client(async).build()) {
            var body = AsyncRequestBody.fromInputStream(new ByteArrayInputStream(large), null, threads);
            var whole = transfers.upload(up -> up.requestBody(body)
                .putObjectRequest(put -> put.bucket(BUCKET).key("large"))).completionFuture().join().response();
            check(whole.eTag().endsWith("-3\""), whole.eTag());
        }
        threads.shutdown();
        check(Arrays.equals(read("file"), file), "file");
        check(Arrays.equals(read("streamed"), streamed), "streamed");
        check(Arrays.equals(read("large"), large), "large");
        int edge = (5 << 20) - 3;
        var part = s3.getObjectAsBytes(get -> get.bucket(BUCKET).key("large").range("bytes=" + edge + "-" + (edge + 5)));
        check(Arrays.equals(part.asByteArray(), Arrays.copyOfRange(large, edge, edge + 6)), "a range over parts");
        String upload = s3.createMultipartUpload(create -> create.bucket(BUCKET).key("abandoned")).uploadId();
        s3.uploadPart(one -> one.bucket(BUCKET).key("abandoned").uploadId(upload).partNumber(1),
            RequestBody.fromString("part"));
        same(s3.listParts(list -> list.bucket(BUCKET).key("abandoned").uploadId(upload)).parts().get(0).size(), 4L);
        same(s3.listMultipartUploads(list -> list.bucket(BUCKET)).uploads().get(0).uploadId(), upload);
        s3.abortMultipartUpload(abort -> abort.bucket(BUCKET).key("abandoned").uploadId(upload));

        // Conditions.
        for (String body : List.of("1", "2")) {
            Callable<?> once = () -> s3.putObject(put -> put.bucket(BUCKET).key("once").ifNoneMatch("*"),
                RequestBody.fromString(body));
            if (body.equals("1")) once.call();
            else refused(S3Exception.class, "PreconditionFailed", 412, once);
        }
        String tag = s3.headObject(ask -> ask.bucket(BUCKET).key("once")).eTag();
        same(s3.getObjectAsBytes(get -> get.bucket(BUCKET).key("once").ifMatch(tag)).asUtf8String(), "1");
        refused(S3Exception.class, "PreconditionFailed", 412,
            () -> s3.getObjectAsBytes(get -> get.bucket(BUCKET).key("once").ifMatch(plain.eTag())));
        refused(S3Exception.class, null, 304,
            () -> s3.getObjectAsBytes(get -> get.bucket(BUCKET).key("plain.txt").ifNoneMatch(plain.eTag())));

        // Listing.
        List<String> numbers = IntStream.range(0, 25).mapToObj(n -> "list/" + n / 10 + "/" + n).toList();
        for (String key : numbers) put(key, key);
        var pages = s3.listObjectsV2Paginator(list -> list.bucket(BUCKET).prefix("list/").maxKeys(7));
        check(pages.stream().allMatch(page -> page.keyCount() <= 7), "small pages");
        same(pages.contents().stream().map(S3Object::key).toList(), numbers.stream().sorted().toList());
        var folders = s3.listObjectsV2(list -> list.bucket(BUCKET).prefix("list/").delimiter("/"));
        same(folders.commonPrefixes().stream().map(CommonPrefix::prefix).toList(),
            List.of("list/0/", "list/1/", "list/2/"));
        var all = s3.listObjectsV2(list -> list.bucket(BUCKET)).contents().stream().map(S3Object::key).toList();
        check(all.containsAll(AWKWARD), all);

        // Copies and tags.
        s3.copyObject(copy -> copy.sourceBucket(BUCKET).sourceKey(AWKWARD.get(0))
            .destinationBucket(BUCKET).destinationKey("copy of 日本"));
        same(text("copy of 日本"), AWKWARD.get(0));
        List<Tag> tags = List.of(Tag.builder().key("a").value("1").build(),
            Tag.builder().key("k ü").value("v/+=").build());
        s3.putObjectTagging(put -> put.bucket(BUCKET).key("plain.txt").tagging(those -> those.tagSet(tags)));
        same(s3.getObjectTagging(get -> get.bucket(BUCKET).key("plain.txt")).tagSet(), tags);
        s3.deleteObjectTagging(delete -> delete.bucket(BUCKET).key("plain.txt"));
        same(s3.getObjectTagging(get -> get.bucket(BUCKET).key("plain.txt")).tagSet(), List.of());

        // Links for those who have no keys.
        HttpClient http = HttpClient.newHttpClient();
        try (S3Presigner presigner = S3Presigner.builder()
                .serviceConfiguration(S3Configuration.builder().pathStyleAccessEnabled(true).build()).build()) {
            var get = presigner.presignGetObject(sign -> sign.signatureDuration(Duration.ofMinutes(1))
                .getObjectRequest(request -> request.bucket(BUCKET).key(AWKWARD.get(0))));
            var got = http.send(HttpRequest.newBuilder(get.url().toURI()).build(), HttpResponse.BodyHandlers.ofString());
            same(List.of(got.statusCode(), got.body()), List.of(200, AWKWARD.get(0)));
            var put = presigner.presignPutObject(sign -> sign.signatureDuration(Duration.ofMinutes(1))
                .putObjectRequest(request -> request.bucket(BUCKET).key("by link")));
            var given = http.send(HttpRequest.newBuilder(put.url().toURI())
                .PUT(HttpRequest.BodyPublishers.ofString("linked")).build(), HttpResponse.BodyHandlers.ofString());
            same(List.of(given.statusCode(), given.body()), List.of(200, ""));
        }
        same(text("by link"), "linked");
        var bare = URI.create(System.getenv("AWS_ENDPOINT_URL") + "/" + BUCKET + "/plain.txt");
        same(http.send(HttpRequest.newBuilder(bare).build(), HttpResponse.BodyHandlers.discarding()).statusCode(), 403);

        // What is refused is an exception of its own.
        refused(NoSuchKeyException.class, "NoSuchKey", 404, () -> read("absent"));
        refused(NoSuchKeyException.class, null, 404, () -> s3.headObject(ask -> ask.bucket(BUCKET).key("absent")));
        refused(NoSuchBucketException.class, "NoSuchBucket", 404, () -> s3.listObjectsV2(list -> list.bucket("absent")));
        refused(BucketAlreadyOwnedByYouException.class, "BucketAlreadyOwnedByYou", 409,
            () -> s3.createBucket(create -> create.bucket(BUCKET)));

        // Deletion, one by one, many at once, and of a whole bucket.
        s3.deleteObject(delete -> delete.bucket(BUCKET).key("empty"));
        List<String> gone = Stream.concat(numbers.stream(), AWKWARD.stream()).sorted().toList();
        List<ObjectIdentifier> those = gone.stream().map(key -> ObjectIdentifier.builder().key(key).build()).toList();
        var deleted = s3.deleteObjects(delete -> delete.bucket(BUCKET).delete(which -> which.objects(those)));
        same(deleted.deleted().stream().map(DeletedObject::key).sorted().toList(), gone);
        s3.createBucket(create -> create.bucket("gone"));
        s3.putObject(put -> put.bucket("gone").key("last"), RequestBody.empty());
        refused(S3Exception.class, "BucketNotEmpty", 409, () -> s3.deleteBucket(delete -> delete.bucket("gone")));
        s3.deleteObject(delete -> delete.bucket("gone").key("last"));
        s3.deleteBucket(delete -> delete.bucket("gone"));
        refused(NoSuchBucketException.class, null, 404, () -> s3.headBucket(ask -> ask.bucket("gone")));
        System.exit(0);
    }
}
