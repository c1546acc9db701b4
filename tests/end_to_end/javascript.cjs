// Prints the ARN that the AWS SDK for JavaScript gets with its default credential chain.
"use strict";

const { GetCallerIdentityCommand, STSClient } = require("@aws-sdk/client-sts");

new STSClient({})
  .send(new GetCallerIdentityCommand({}))
  .then((answer) => console.log(answer.Arn))
  .catch((error) => {
    console.error(`${error.name}: ${error.message}`);
    process.exitCode = 1;
  });
