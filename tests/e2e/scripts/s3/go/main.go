// The AWS SDK for Go: the story that every client of buckets goes through.
package main

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

var (
	ctx     = context.Background()
	bucket  = aws.String("story")
	awkward = []string{"a b+c%d.txt", "ünï/日本/🦀", "a//b", `q'"<&>?#;=@`}
	// The address, the region and the keys are in the environment, as for any other server.
	client = s3.NewFromConfig(must(config.LoadDefaultConfig(ctx)), func(o *s3.Options) { o.UsePathStyle = true })
)

func check(holds bool, what ...any) {
	if !holds {
		panic(fmt.Sprint(what...))
	}
}

func must[T any](value T, err error) T {
	check(err == nil, err)
	return value
}

func put(key, body string) *s3.PutObjectOutput {
	return must(client.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: &key, Body: strings.NewReader(body)}))
}

func get(input *s3.GetObjectInput) ([]byte, error) {
	input.Bucket = bucket
	got, err := client.GetObject(ctx, input)
	if err != nil {
		return nil, err
	}
	defer got.Body.Close()
	return io.ReadAll(got.Body)
}

func read(key string) string {
	return string(must(get(&s3.GetObjectInput{Key: &key})))
}

func pattern(length int) []byte {
	phrase := []byte("all work and no play, ")
	return bytes.Repeat(phrase, length/len(phrase)+1)[:length]
}

func status(err error) int {
	var answer *smithyhttp.ResponseError
	check(errors.As(err, &answer), "no answer: ", err)
	return answer.HTTPStatusCode()
}

// With that code, in an answer with that status.
func refused[T any](code string, wanted int, _ T, err error) {
	var refusal smithy.APIError
	check(errors.As(err, &refusal) && refusal.ErrorCode() == code && status(err) == wanted, code, err)
}

// The same, and the SDK has a type for it.
func typed[E error, T any](wanted int, _ T, err error) {
	var refusal E
	check(errors.As(err, &refusal) && status(err) == wanted, fmt.Sprintf("%T", refusal), err)
}

func fetch(method, address, body string) (int, string) {
	request := must(http.NewRequest(method, address, strings.NewReader(body)))
	answer := must(http.DefaultClient.Do(request))
	defer answer.Body.Close()
	return answer.StatusCode, string(must(io.ReadAll(answer.Body)))
}

func main() {
	must(client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket}))
	must(client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: bucket}))
	buckets := must(client.ListBuckets(ctx, &s3.ListBucketsInput{})).Buckets
	check(len(buckets) == 1 && *buckets[0].Name == *bucket, buckets)
	told := types.LambdaFunctionConfiguration{Id: aws.String("told"), LambdaFunctionArn: aws.String(os.Getenv("FUNCTION_ARN")),
		Events: []types.Event{"s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectTagging:*"}}
	must(client.PutBucketNotificationConfiguration(ctx, &s3.PutBucketNotificationConfigurationInput{Bucket: bucket,
		NotificationConfiguration: &types.NotificationConfiguration{LambdaFunctionConfigurations: []types.LambdaFunctionConfiguration{told}}}))
	set := must(client.GetBucketNotificationConfiguration(ctx, &s3.GetBucketNotificationConfigurationInput{Bucket: bucket}))
	check(slices.Equal(set.LambdaFunctionConfigurations[0].Events, told.Events), set.LambdaFunctionConfigurations)

	// Small and empty ones, odd names, what a head says of them.
	plain := must(client.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("plain.txt"), Body: strings.NewReader("hello"),
		ContentType: aws.String("text/plain; charset=utf-8"), Metadata: map[string]string{"colour": "blue"}}))
	check(*plain.ETag == fmt.Sprintf("\"%x\"", md5.Sum([]byte("hello"))), *plain.ETag)
	check(plain.ChecksumCRC32 != nil, "the checksum that the SDK computes is kept")
	head := must(client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: aws.String("plain.txt"), ChecksumMode: "ENABLED"}))
	check(*head.ContentLength == 5 && *head.ContentType == "text/plain; charset=utf-8" && head.Metadata["colour"] == "blue" &&
		*head.ETag == *plain.ETag && *head.ChecksumCRC32 == *plain.ChecksumCRC32, head)
	put("empty", "")
	check(read("empty") == "", "empty")
	for _, key := range awkward {
		put(key, key)
		check(read(key) == key, key)
	}

	// A stream whose length is told, one whose length is not, and parts of one, by the transfer manager.
	file, streamed, large := pattern(70_000), pattern(300_000), pattern(12<<20+3)
	must(client.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("file"), Body: bytes.NewReader(file)}))
	transfers := transfermanager.New(client, func(o *transfermanager.Options) {
		o.PartSizeBytes, o.MultipartUploadThreshold = 5<<20, 5<<20
	})
	upload := func(key string, body []byte) string {
		// A reader that is nothing else cannot be asked how much it has, nor read again.
		stream := io.MultiReader(bytes.NewReader(body))
		return *must(transfers.UploadObject(ctx, &transfermanager.UploadObjectInput{Bucket: bucket, Key: &key, Body: stream})).ETag
	}
	upload("streamed", streamed)
	whole := upload("large", large)
	check(strings.HasSuffix(whole, `-3"`), whole)
	for key, body := range map[string][]byte{"file": file, "streamed": streamed, "large": large} {
		check(read(key) == string(body), key)
		got := must(transfers.GetObject(ctx, &transfermanager.GetObjectInput{Bucket: bucket, Key: &key}))
		check(bytes.Equal(must(io.ReadAll(got.Body)), body), key)
	}
	edge := 5<<20 - 3
	span := aws.String(fmt.Sprintf("bytes=%d-%d", edge, edge+5))
	check(bytes.Equal(must(get(&s3.GetObjectInput{Key: aws.String("large"), Range: span})), large[edge:edge+6]), "a range over parts")
	abandoned := aws.String("abandoned")
	id := must(client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: abandoned})).UploadId
	must(client.UploadPart(ctx, &s3.UploadPartInput{Bucket: bucket, Key: abandoned, UploadId: id, PartNumber: aws.Int32(1), Body: strings.NewReader("part")}))
	parts := must(client.ListParts(ctx, &s3.ListPartsInput{Bucket: bucket, Key: abandoned, UploadId: id})).Parts
	check(len(parts) == 1 && *parts[0].Size == 4, parts)
	uploads := must(client.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: bucket})).Uploads
	check(len(uploads) == 1 && *uploads[0].UploadId == *id, uploads)
	must(client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: bucket, Key: abandoned, UploadId: id}))

	// Conditions.
	once := func(body string) (*s3.PutObjectOutput, error) {
		return client.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("once"), Body: strings.NewReader(body), IfNoneMatch: aws.String("*")})
	}
	tag := must(once("1")).ETag
	again, err := once("2")
	refused("PreconditionFailed", 412, again, err)
	check(string(must(get(&s3.GetObjectInput{Key: aws.String("once"), IfMatch: tag}))) == "1", "once")
	other, err := get(&s3.GetObjectInput{Key: aws.String("once"), IfMatch: plain.ETag})
	refused("PreconditionFailed", 412, other, err)
	_, err = get(&s3.GetObjectInput{Key: aws.String("plain.txt"), IfNoneMatch: plain.ETag})
	check(status(err) == 304, err)

	// Listing.
	var numbers []string
	for n := range 25 {
		numbers = append(numbers, fmt.Sprintf("list/%d/%d", n/10, n))
		put(numbers[n], numbers[n])
	}
	sorted := slices.Sorted(slices.Values(numbers))
	var listed []string
	pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: bucket, Prefix: aws.String("list/"), MaxKeys: aws.Int32(7)})
	for pages.HasMorePages() {
		page := must(pages.NextPage(ctx))
		check(*page.KeyCount <= 7, "small pages")
		for _, item := range page.Contents {
			listed = append(listed, *item.Key)
		}
	}
	check(slices.Equal(listed, sorted), listed)
	folders := must(client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket, Prefix: aws.String("list/"), Delimiter: aws.String("/")}))
	check(len(folders.CommonPrefixes) == 3 && *folders.CommonPrefixes[2].Prefix == "list/2/", folders.CommonPrefixes)
	all := map[string]bool{}
	for _, item := range must(client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket})).Contents {
		all[*item.Key] = true
	}
	for _, key := range awkward {
		check(all[key], key)
	}

	// Copies and tags.
	source := aws.String(*bucket + "/" + url.QueryEscape(awkward[0]))
	source = aws.String(strings.ReplaceAll(*source, "+", "%20"))
	must(client.CopyObject(ctx, &s3.CopyObjectInput{Bucket: bucket, Key: aws.String("copy of 日本"), CopySource: source}))
	check(read("copy of 日本") == awkward[0], "copy")
	tags := []types.Tag{{Key: aws.String("a"), Value: aws.String("1")}, {Key: aws.String("k ü"), Value: aws.String("v/+=")}}
	key := aws.String("plain.txt")
	must(client.PutObjectTagging(ctx, &s3.PutObjectTaggingInput{Bucket: bucket, Key: key, Tagging: &types.Tagging{TagSet: tags}}))
	kept := must(client.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: bucket, Key: key})).TagSet
	check(len(kept) == 2 && *kept[1].Key == "k ü" && *kept[1].Value == "v/+=", kept)
	must(client.DeleteObjectTagging(ctx, &s3.DeleteObjectTaggingInput{Bucket: bucket, Key: key}))
	check(len(must(client.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: bucket, Key: key})).TagSet) == 0, "tags")

	// Links for those who have no keys.
	presigner := s3.NewPresignClient(client)
	expiry := s3.WithPresignExpires(time.Minute)
	link := must(presigner.PresignGetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: &awkward[0]}, expiry))
	code, body := fetch("GET", link.URL, "")
	check(code == 200 && body == awkward[0], code, body)
	link = must(presigner.PresignPutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("by link")}, expiry))
	code, body = fetch("PUT", link.URL, "linked")
	check(code == 200 && read("by link") == "linked", code, body)
	code, body = fetch("GET", os.Getenv("AWS_ENDPOINT_URL")+"/"+*bucket+"/plain.txt", "")
	check(code == 403, code, body)

	// What is refused is an error of its own.
	absent := aws.String("absent")
	nothing, err := get(&s3.GetObjectInput{Key: absent})
	typed[*types.NoSuchKey](404, nothing, err)
	headless, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: absent})
	typed[*types.NotFound](404, headless, err)
	unlisted, err := client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: absent})
	typed[*types.NoSuchBucket](404, unlisted, err)
	owned, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket})
	typed[*types.BucketAlreadyOwnedByYou](409, owned, err)

	// Deletion, one by one, many at once, and of a whole bucket.
	must(client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: aws.String("empty")}))
	var those []types.ObjectIdentifier
	gone := append(numbers, awkward...)
	for _, key := range gone {
		those = append(those, types.ObjectIdentifier{Key: aws.String(key)})
	}
	var deleted []string
	for _, item := range must(client.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: bucket, Delete: &types.Delete{Objects: those}})).Deleted {
		deleted = append(deleted, *item.Key)
	}
	sort.Strings(gone)
	sort.Strings(deleted)
	check(slices.Equal(deleted, gone), deleted)
	short, last := aws.String("gone"), aws.String("last")
	must(client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: short}))
	must(client.PutObject(ctx, &s3.PutObjectInput{Bucket: short, Key: last}))
	full, err := client.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: short})
	refused("BucketNotEmpty", 409, full, err)
	must(client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: short, Key: last}))
	must(client.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: short}))
	lost, err := client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: short})
	typed[*types.NotFound](404, lost, err)
}
