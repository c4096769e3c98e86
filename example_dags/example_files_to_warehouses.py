"""Write long Parquet files, and leave the rest to a warehouse's own operator.

For a warehouse that ``AudienceTrendsToSqlOperator`` does not load, or where another team owns the load. The files of a
day have the same name and rows when they are written again; but each of these operators replaces a whole table or
appends, so what a second run does to the table is yours to decide.

Requires the connections ``cordial_default``, ``aws_default``, ``google_cloud_default``, and those of the warehouses.
"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from airflow.providers.amazon.aws.transfers.s3_to_redshift import S3ToRedshiftOperator
from airflow.providers.databricks.operators.databricks_sql import DatabricksCopyIntoOperator
from airflow.providers.google.cloud.transfers.gcs_to_bigquery import GCSToBigQueryOperator
from airflow.providers.snowflake.transfers.copy_into_snowflake import CopyFromExternalStageToSnowflakeOperator
from airflow.sdk import DAG

from airflow_provider_cordial.destinations import SftpDestination
from airflow_provider_cordial.operators import AudienceTrendsExportOperator
from airflow_provider_cordial.transfers import AudienceTrendsToFileOperator

with DAG(
    dag_id="example_files_to_warehouses",
    schedule="0 3 * * *",
    start_date=datetime(2025, 11, 24, tzinfo=ZoneInfo("America/Los_Angeles")),
    catchup=False,
    doc_md=__doc__,
    tags=["cordial"],
) as dag:
    # [START files_to_warehouses]
    export = AudienceTrendsExportOperator(
        task_id="export",
        audiences=["opened_last_30_days", "purchased_last_30_days"],
        destination=SftpDestination(conn_id="sftp_default", path="exports"),
        wait_for_completion=True,
        deferrable=True,
    )
    write_s3 = AudienceTrendsToFileOperator(
        task_id="write_s3",
        export=export.output["export"],
        path="s3://aws_default@acme-cordial/trends/{{ run_id }}",
        file_format="parquet",
        partition_by_day=False,
    )
    write_gcs = AudienceTrendsToFileOperator(
        task_id="write_gcs",
        export=export.output["export"],
        path="gs://google_cloud_default@acme-cordial/trends/{{ run_id }}",
        file_format="parquet",
        partition_by_day=False,
    )
    to_redshift = S3ToRedshiftOperator(
        task_id="to_redshift",
        s3_bucket="acme-cordial",
        s3_key="trends/{{ run_id }}/",
        schema="marketing",
        table="audience_trends_files",
        copy_options=["FORMAT AS PARQUET"],
    )
    to_snowflake = CopyFromExternalStageToSnowflakeOperator(
        task_id="to_snowflake",
        stage="acme_cordial_stage",
        prefix="trends/{{ run_id }}",
        table="audience_trends_files",
        file_format="(TYPE = PARQUET)",
        copy_options="MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE",
    )
    to_databricks = DatabricksCopyIntoOperator(
        task_id="to_databricks",
        table_name="main.marketing.audience_trends_files",
        file_location="s3://acme-cordial/trends/{{ run_id }}",
        file_format="PARQUET",
        copy_options={"mergeSchema": "true"},
    )
    to_bigquery = GCSToBigQueryOperator(
        task_id="to_bigquery",
        bucket="acme-cordial",
        source_objects=["trends/{{ run_id }}/*.parquet"],
        destination_project_dataset_table="my-project.marketing.audience_trends_files",
        source_format="PARQUET",
        write_disposition="WRITE_APPEND",
    )
    export >> write_s3 >> [to_redshift, to_snowflake, to_databricks]
    export >> write_gcs >> to_bigquery
    # [END files_to_warehouses]
